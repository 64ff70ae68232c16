//! `$(( … ))`: whole numbers, `+ - * / %`, comparisons, parentheses, variables.

/// The value of an expression; `None` where it makes no sense.
pub(crate) fn value(text: &str, var: &dyn Fn(&str) -> i64) -> Option<i64> {
    let mut parser = Parser { rest: text, var };
    let value = parser.comparison()?;
    parser.rest.trim().is_empty().then_some(value)
}

/// Whether a comparison holds.
type Holds = fn(i64, i64) -> bool;

struct Parser<'a> {
    rest: &'a str,
    var: &'a dyn Fn(&str) -> i64,
}

impl Parser<'_> {
    fn take(&mut self, op: &str) -> bool {
        match self.rest.trim_start().strip_prefix(op) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn comparison(&mut self) -> Option<i64> {
        let left = self.sum()?;
        let ops: [(&str, Holds); 6] = [
            ("<=", |a, b| a <= b),
            (">=", |a, b| a >= b),
            ("==", |a, b| a == b),
            ("!=", |a, b| a != b),
            ("<", |a, b| a < b),
            (">", |a, b| a > b),
        ];
        for (op, holds) in ops {
            if self.take(op) {
                return Some(i64::from(holds(left, self.sum()?)));
            }
        }
        Some(left)
    }

    fn sum(&mut self) -> Option<i64> {
        let mut sum = self.product()?;
        loop {
            if self.take("+") {
                sum = sum.wrapping_add(self.product()?);
            } else if self.take("-") {
                sum = sum.wrapping_sub(self.product()?);
            } else {
                return Some(sum);
            }
        }
    }

    fn product(&mut self) -> Option<i64> {
        let mut product = self.atom()?;
        loop {
            if self.take("*") {
                product = product.wrapping_mul(self.atom()?);
            } else if self.take("/") {
                product = product.checked_div(self.atom()?)?;
            } else if self.take("%") {
                product = product.checked_rem(self.atom()?)?;
            } else {
                return Some(product);
            }
        }
    }

    fn atom(&mut self) -> Option<i64> {
        if self.take("(") {
            let value = self.comparison()?;
            return self.take(")").then_some(value);
        }
        if self.take("-") {
            return Some(self.atom()?.wrapping_neg());
        }
        let text = self.rest.trim_start();
        let text = text.strip_prefix('$').unwrap_or(text);
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        match word.chars().next()? {
            c if c.is_ascii_digit() => word.parse().ok(),
            _ => Some((self.var)(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn expressions() {
        let var = |name: &str| if name == "i" { 4 } else { 0 };
        for (text, expected) in [
            ("1 + 2*3", 7),
            ("(i+1) % 3", 2),
            ("$i - -1", 5),
            ("i < 5", 1),
            ("i == 5", 0),
        ] {
            assert_eq!(value(text, &var), Some(expected), "{text}");
        }
        for bad in ["", "1 +", "1/0", "(1", "1 2"] {
            assert_eq!(value(bad, &var), None, "{bad}");
        }
    }
}
