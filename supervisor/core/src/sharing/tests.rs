//! The rules against tables of cases, against a naive model, against all of a small world, and by the work they do.

mod bounded;
mod cases;
mod model;
mod random;
mod work;
mod world;
