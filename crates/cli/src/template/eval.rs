//! Filling a template in.

use serde_json::Value;

use super::functions;
use super::show::{show, truth};
use super::syntax::{Base, Command, Node, Operand, Pipeline};
use super::{Result, fail};

/// Most bytes that a template may make.
const MAX_OUTPUT: usize = 64 << 20;

pub(crate) fn render(nodes: &[Node], value: &Value) -> Result<String> {
    let mut scope = Scope {
        variables: vec![(String::new(), value.clone())],
        output: String::new(),
    };
    scope.nodes(nodes, value)?;
    Ok(scope.output)
}

/// What a block did, for the loop around it.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Scope {
    /// Innermost last. The first one, without a name, is `$`.
    variables: Vec<(String, Value)>,
    output: String,
}

impl Scope {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        let outer = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
            if self.output.len() > MAX_OUTPUT {
                return fail("it makes too much output");
            }
        }
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot, false)?;
                if pipeline.variables.is_empty() {
                    self.output.push_str(&show(&value));
                } else {
                    self.set(pipeline, value)?;
                }
            }
            Node::If { arms, otherwise } => {
                for (condition, body) in arms {
                    let value = self.pipeline(condition, dot, true)?;
                    if truth(&value) {
                        return self.block(condition, value, body, dot);
                    }
                }
                return self.nodes(otherwise, dot);
            }
            Node::With {
                value,
                body,
                otherwise,
            } => {
                let found = self.pipeline(value, dot, true)?;
                if truth(&found) {
                    return self.block(value, found.clone(), body, &found);
                }
                return self.nodes(otherwise, dot);
            }
            Node::Range {
                values,
                body,
                otherwise,
            } => {
                let items = items(self.pipeline(values, dot, false)?)?;
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                self.each(values, items, body)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// A block whose condition may declare a variable.
    fn block(
        &mut self,
        condition: &Pipeline,
        value: Value,
        body: &[Node],
        dot: &Value,
    ) -> Result<Flow> {
        let outer = self.variables.len();
        if !condition.variables.is_empty() {
            self.set(condition, value)?;
        }
        let flow = self.nodes(body, dot);
        self.variables.truncate(outer);
        flow
    }

    fn each(&mut self, values: &Pipeline, items: Vec<(Value, Value)>, body: &[Node]) -> Result<()> {
        let outer = self.variables.len();
        for (key, item) in items {
            match values.variables.as_slice() {
                [] => {}
                [value] => self.variables.push((value.clone(), item.clone())),
                [index, value, ..] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((value.clone(), item.clone()));
                }
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(outer);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn set(&mut self, pipeline: &Pipeline, value: Value) -> Result<()> {
        let [name] = pipeline.variables.as_slice() else {
            return fail("two variables can only be set by {{range}}");
        };
        if !pipeline.assign {
            self.variables.push((name.clone(), value));
            return Ok(());
        }
        let found = self.variables.iter_mut().rev().find(|(own, _)| own == name);
        match found {
            Some((_, place)) => {
                *place = value;
                Ok(())
            }
            None => fail(format!("undefined variable \"${name}\"")),
        }
    }

    /// A pipeline's value. Where `lenient`, a field that isn't there is nothing, and no error.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value, lenient: bool) -> Result<Value> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last, lenient)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(
        &mut self,
        Command(operands): &Command,
        dot: &Value,
        last: Option<Value>,
        lenient: bool,
    ) -> Result<Value> {
        let Some((first, rest)) = operands.split_first() else {
            return fail("a value is missing");
        };
        if let Base::Function(name) = &first.base {
            let mut arguments = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                arguments.push(self.operand(operand, dot, lenient)?);
            }
            arguments.extend(last);
            return functions::call(name, &arguments);
        }
        if !rest.is_empty() || last.is_some() {
            return fail("only a function can be given arguments");
        }
        self.operand(first, dot, lenient)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, lenient: bool) -> Result<Value> {
        let base = match &operand.base {
            Base::Dot => return field(dot, &operand.fields, lenient),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(own, _)| own == name);
                match found {
                    Some((_, value)) => return field(value, &operand.fields, lenient),
                    None => return fail(format!("undefined variable \"${name}\"")),
                }
            }
            Base::Constant(value) => value.clone(),
            Base::Pipeline(inner) => self.pipeline(inner, dot, lenient)?,
            Base::Function(name) => functions::call(name, &[])?,
        };
        field(&base, &operand.fields, lenient)
    }
}

fn field(value: &Value, path: &[String], lenient: bool) -> Result<Value> {
    let mut value = value;
    for (at, name) in path.iter().enumerate() {
        let found = match value {
            Value::Object(map) => map.get(name),
            _ => None,
        };
        match found {
            Some(found) => value = found,
            None if lenient => return Ok(Value::Null),
            None => {
                let path = path.get(..at).unwrap_or_default();
                let of = path
                    .iter()
                    .map(|name| format!(".{name}"))
                    .collect::<String>();
                let of = if of.is_empty() { ".".to_owned() } else { of };
                return fail(match value {
                    Value::Object(_) => format!("{of} has no field {name:?}"),
                    Value::Null => format!("{of} is nothing: it has no field {name:?}"),
                    _ => format!("{of} is no object: it has no field {name:?}"),
                });
            }
        }
    }
    Ok(value.clone())
}

/// Keys and values to go through.
fn items(value: Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => Ok((0u64..).map(Value::from).zip(values).collect()),
        Value::Object(map) => Ok(map
            .into_iter()
            .map(|(key, value)| (Value::String(key), value))
            .collect()),
        other => fail(format!("{{{{range}}}} can't go through {}", show(&other))),
    }
}
