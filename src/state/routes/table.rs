//! The routes by key, and which of them use a nexthop object: an object's change concerns its users, not the whole table.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::{Route, RouteKey};
use crate::event::Prefix;

#[derive(Clone, Default)]
pub(super) struct Table {
    routes: BTreeMap<RouteKey, Route>,
    /// Routes that name an object, by its id.
    users: BTreeSet<(u32, RouteKey)>,
}

impl Deref for Table {
    type Target = BTreeMap<RouteKey, Route>;

    fn deref(&self) -> &Self::Target {
        &self.routes
    }
}

impl Table {
    /// Stores a route; what it replaces.
    pub(super) fn insert(&mut self, key: RouteKey, route: Route) -> Option<Route> {
        let nhid = route.nhid;
        let before = self.routes.insert(key, route);
        let was = before.as_ref().map_or(0, |route| route.nhid);
        self.follow(key, was, nhid);
        before
    }

    pub(super) fn remove(&mut self, key: &RouteKey) -> Option<Route> {
        let route = self.routes.remove(key)?;
        self.follow(*key, route.nhid, 0);
        Some(route)
    }

    /// A route that is known was told again; the route as it stands then.
    pub(super) fn again(&mut self, key: RouteKey, generation: u32, nhid: u32) -> Option<Route> {
        let route = self.routes.get_mut(&key)?;
        route.generation = generation;
        let was = std::mem::replace(&mut route.nhid, nhid);
        let route = route.clone();
        self.follow(key, was, nhid);
        Some(route)
    }

    /// The routes that name object `id`, in order.
    pub(super) fn users(&self, id: u32) -> impl Iterator<Item = RouteKey> {
        let first = RouteKey::first(0, Prefix::v4([0; 4], 0));
        let from = self.users.range((id, first)..);
        from.take_while(move |(of, _)| *of == id)
            .map(|(_, key)| *key)
    }

    fn follow(&mut self, key: RouteKey, was: u32, is: u32) {
        if was == is {
            return;
        }
        if was != 0 {
            self.users.remove(&(was, key));
        }
        if is != 0 {
            self.users.insert((is, key));
        }
    }
}
