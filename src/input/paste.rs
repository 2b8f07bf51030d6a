//! Lines to paste into routers' configurations, for `doctor` and the documentation.
