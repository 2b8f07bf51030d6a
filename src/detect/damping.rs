//! Route flap damping in observe mode.
