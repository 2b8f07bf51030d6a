//! The netlink collector: notifications, dumps and the loss between them.
