//! Prefixes in order, each once. A copy costs nothing until it is changed: findings and incidents are copied whenever they are told, with
//! thousands of prefixes each when a router bounces.

use std::sync::Arc;

use super::Prefix;

/// A set of prefixes, in their order.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct PrefixSet(Arc<Vec<Prefix>>);

impl PrefixSet {
    /// Adds a prefix; whether it was new. Those that come in order cost least.
    pub fn insert(&mut self, prefix: Prefix) -> bool {
        let at = match self.0.last() {
            Some(last) if *last < prefix => self.0.len(),
            None => 0,
            Some(_) => match self.0.binary_search(&prefix) {
                Ok(_) => return false,
                Err(at) => at,
            },
        };
        Arc::make_mut(&mut self.0).insert(at, prefix);
        true
    }

    /// All that is in any of these, the first `most` of them.
    pub fn union(sets: &[&PrefixSet], most: usize) -> PrefixSet {
        let filled: Vec<&&PrefixSet> = sets.iter().filter(|set| !set.is_empty()).collect();
        match filled.as_slice() {
            [] => PrefixSet::default(),
            [one] if one.len() <= most => (**one).clone(),
            many => {
                let mut all: Vec<Prefix> = Vec::new();
                for set in many {
                    all.extend_from_slice(&set.0);
                    // What will not be among the first is not carried along.
                    if all.len() > most.saturating_mul(2) {
                        settle(&mut all, most);
                    }
                }
                settle(&mut all, most);
                PrefixSet(Arc::new(all))
            }
        }
    }

    /// Whether it is among them.
    pub fn contains(&self, prefix: &Prefix) -> bool {
        self.0.binary_search(prefix).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Prefix> {
        self.0.iter()
    }
}

/// In order, each once, the first `most`. They are ordered runs, one after the other: what a merging sort is best at.
fn settle(prefixes: &mut Vec<Prefix>, most: usize) {
    prefixes.sort();
    prefixes.dedup();
    prefixes.truncate(most);
    prefixes.shrink_to_fit();
}

impl<'a> IntoIterator for &'a PrefixSet {
    type Item = &'a Prefix;
    type IntoIter = std::slice::Iter<'a, Prefix>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Extend<Prefix> for PrefixSet {
    fn extend<I: IntoIterator<Item = Prefix>>(&mut self, prefixes: I) {
        for prefix in prefixes {
            self.insert(prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(octets: &[u8]) -> PrefixSet {
        let mut set = PrefixSet::default();
        set.extend(octets.iter().map(|n| Prefix::v4([192, 0, 2, *n], 32)));
        set
    }

    proptest! {
        #[test]
        fn it_holds_what_an_ordered_set_holds(lists: Vec<Vec<u8>>, most in 0usize..300) {
            let tree = |octets: &[u8]| -> BTreeSet<Prefix> {
                octets.iter().map(|n| Prefix::v4([192, 0, 2, *n], 32)).collect()
            };
            let sets: Vec<PrefixSet> = lists.iter().map(|list| set(list)).collect();
            for (list, set) in lists.iter().zip(&sets) {
                prop_assert!(tree(list).iter().eq(set.iter()));
            }
            let all: BTreeSet<Prefix> = lists.iter().flat_map(|list| tree(list)).collect();
            let union = PrefixSet::union(&sets.iter().collect::<Vec<_>>(), most);
            prop_assert!(all.iter().take(most).eq(union.iter()));
            prop_assert!(union.iter().all(|prefix| union.contains(prefix)));
        }

        #[test]
        fn a_copy_does_not_change_with_what_it_was_copied_from(list: Vec<u8>, more: Vec<u8>) {
            let mut own = set(&list);
            let copy = own.clone();
            own.extend(set(&more).iter().copied());
            prop_assert_eq!(copy, set(&list));
        }
    }
}
