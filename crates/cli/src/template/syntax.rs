//! What templates are made of.

use serde_json::Value;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    /// Shown, unless it only sets a variable.
    Action(Pipeline),
    If {
        arms: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        values: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// Commands, each given the result of the one before as its last argument.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pipeline {
    /// Variables that the result is put in: `$x :=`, and two for `range`.
    pub(crate) variables: Vec<String>,
    /// Whether the variable was declared before (`=`).
    pub(crate) assign: bool,
    pub(crate) commands: Vec<Command>,
}

/// A value alone, or a function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Command(pub(crate) Vec<Operand>);

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    pub(crate) base: Base,
    /// `.A.B` after it.
    pub(crate) fields: Vec<String>,
}

/// What a value begins with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Base {
    /// `.`
    Dot,
    /// `$x`; `$` is the value that the template was given.
    Variable(String),
    /// A string, number or boolean.
    Constant(Value),
    /// `(…)`
    Pipeline(Pipeline),
    /// A function's name.
    Function(String),
}
