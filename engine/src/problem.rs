//! Problem: one refusal of something an operator wrote. It says where, what was found and what is
//! accepted, in one line, and never holds a secret.

use std::fmt::{self, Display, Write as _};
use std::path::{Path, PathBuf};

/// Problems that one report lists; the rest are counted.
const LISTED_MAX: usize = 100;

/// Characters of a found text that a problem shows.
const FOUND_CHARACTERS_MAX: usize = 120;

/// A place in a text file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Position {
    /// The position of byte number `offset` in `text`.
    #[must_use]
    pub fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before
            .bytes()
            .filter(|byte| *byte == b'\n')
            .count()
            .saturating_add(1);
        let column = before
            .chars()
            .rev()
            .take_while(|character| *character != '\n')
            .count();
        Self {
            line,
            column: column.saturating_add(1),
        }
    }
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file, where it came from one.
    pub file: Option<PathBuf>,
    /// The place in that file, where it is known.
    pub position: Option<Position>,
    /// The key, such as `engine.shards` or `groups[0].groupId`; empty for the whole file.
    pub path: String,
    /// What stood there.
    pub found: String,
    /// What may stand there; empty where `found` says it all.
    pub accepted: String,
}

impl Problem {
    /// A refusal of what stands at `path`.
    #[must_use]
    pub fn new(path: impl Display, found: impl Display, accepted: impl Display) -> Self {
        Self {
            file: None,
            position: None,
            path: path.to_string(),
            found: found.to_string(),
            accepted: accepted.to_string(),
        }
    }

    /// The same refusal, in this file.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// The same refusal, at this position of its file.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

impl Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        if let Some(file) = &self.file {
            write!(line, "{}", file.display())?;
            if let Some(Position { line: row, column }) = self.position {
                write!(line, ":{row}:{column}")?;
            }
            line.push_str(": ");
        } else if let Some(Position { line: row, column }) = self.position {
            write!(line, "line {row} column {column}: ")?;
        }
        if !self.path.is_empty() {
            write!(line, "{}: ", self.path)?;
        }
        write!(line, "found {}", self.found)?;
        if !self.accepted.is_empty() {
            write!(line, "; accepted: {}", self.accepted)?;
        }
        for character in line.chars() {
            if character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// The problems of one reading, bounded in number.
#[derive(Debug, Default)]
pub struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// Notes one refusal.
    pub fn refuse(&mut self, path: impl Display, found: impl Display, accepted: impl Display) {
        self.add(|| Problem::new(path, found, accepted));
    }

    /// Notes one refusal, or only counts it where enough are listed.
    pub fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.listed.len() < LISTED_MAX {
            self.listed.push(problem());
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The value, if it is there and nothing was refused.
    ///
    /// # Errors
    /// The problems, in the order in which they were found.
    pub fn into_result<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.listed.is_empty() => Ok(value),
            _ => {
                if self.unlisted > 0 {
                    self.listed.push(Problem::new(
                        "",
                        format_args!("{} more problems that are not listed", self.unlisted),
                        "",
                    ));
                }
                Err(self.listed)
            }
        }
    }
}

/// A text in quotes as a problem shows it: escaped, and cut where it is long.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(FOUND_CHARACTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_cfg_4_a_problem_is_one_line_with_place_found_and_accepted() {
        let problem = Problem::new("engine.shards", -1, "0 to 1024");
        assert_eq!(
            problem.to_string(),
            "engine.shards: found -1; accepted: 0 to 1024"
        );
        let placed = problem.in_file(Path::new("a/ringbeam.toml"));
        let position = Position::of_offset("[engine]\nähards = -1", 18);
        assert_eq!(position, Position { line: 2, column: 9 });
        assert_eq!(
            placed.at(position).to_string(),
            "a/ringbeam.toml:2:9: engine.shards: found -1; accepted: 0 to 1024"
        );
        let broken = Problem::new("", "a\nb", "");
        assert_eq!(broken.to_string(), "found a\\nb");
    }

    #[test]
    fn problems_are_bounded() {
        let mut problems = Problems::default();
        for number in 0..LISTED_MAX + 7 {
            problems.refuse(number, "x", "");
        }
        let listed = problems.into_result(Some(())).unwrap_err();
        assert_eq!(listed.len(), LISTED_MAX + 1);
        assert_eq!(
            listed.last().unwrap().found,
            "7 more problems that are not listed"
        );
        assert_eq!(Problems::default().into_result(Some(5)), Ok(5));
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
        assert_eq!(
            quoted(&"x".repeat(500)).chars().count(),
            FOUND_CHARACTERS_MAX + 3
        );
    }
}
