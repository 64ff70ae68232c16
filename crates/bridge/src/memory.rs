//! A bounded memory: what engines tell once, or not at all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Entries that are kept; the oldest go first.
const KEPT: usize = 4096;

/// Values by id.
pub(crate) struct Memory<T>(Mutex<(HashMap<String, T>, VecDeque<String>)>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Memory<T> {
    pub(crate) fn remember(&self, id: &str, value: T) {
        let (values, order) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if values.insert(id.to_owned(), value).is_none() {
            order.push_back(id.to_owned());
        }
        if order.len() > KEPT
            && let Some(oldest) = order.pop_front()
        {
            values.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<T> {
        let (values, _) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let memory = Memory::default();
        for number in 0..KEPT + 2 {
            memory.remember(&number.to_string(), number);
            memory.remember(&number.to_string(), number);
        }
        assert_eq!(memory.get("1"), None);
        assert_eq!(memory.get("2"), Some(2));
        assert_eq!(memory.0.lock().unwrap().0.len(), KEPT);
    }
}
