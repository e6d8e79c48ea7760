//! Lists of a platform that are read page by page.

/// The entries of a list, page after page. Tokens that lead back, whatever they are, give a page that came before.
pub struct Pages<T> {
    entries: Vec<T>,
    begins: Vec<usize>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), begins: Vec::new() }
    }
}

impl<T: PartialEq> Pages<T> {
    /// Adds a page, unless it came before though the list is to go on (`goes_on`): what follows is then not to be had.
    #[must_use]
    pub fn add(&mut self, page: Vec<T>, goes_on: bool) -> bool {
        let came = |begin: &usize| self.entries.get(*begin..).is_some_and(|from| from.starts_with(&page));
        if goes_on && !page.is_empty() && self.begins.iter().any(came) {
            return false;
        }
        self.begins.push(self.entries.len());
        self.entries.extend(page);
        true
    }

    /// All entries so far.
    #[must_use]
    pub fn entries(&self) -> &[T] {
        &self.entries
    }

    /// All entries.
    #[must_use]
    pub fn into_entries(self) -> Vec<T> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_came_before_is_not_taken_again() {
        let mut pages = Pages::default();
        for (page, goes_on, is_new) in [
            (vec![1, 2], true, true),
            (vec![], true, true),
            (vec![2, 1], true, true),
            (vec![], true, true),
            (vec![1, 2], true, false),
            (vec![2, 1], true, false),
            (vec![1], true, false),
            (vec![1, 3], true, true),
            (vec![1], false, true),
        ] {
            assert_eq!(pages.add(page.clone(), goes_on), is_new, "{page:?}");
        }
        assert_eq!(pages.into_entries(), [1, 2, 2, 1, 1, 3, 1]);
    }
}
