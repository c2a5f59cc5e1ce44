//! The rules in words, as tables of cases.
