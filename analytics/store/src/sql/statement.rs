//! What may run, and what it reads. One statement that only reads our tables; everything else is
//! refused here, before polars sees it.

use super::{arrows, bounds, numbers};
use crate::error::StoreError;
use sqlparser::{
    ast::{
        DescribeAlias, Expr, Function, JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Visit,
        Visitor,
    },
    dialect::GenericDialect,
    parser::{Parser, ParserOptions},
};
use std::{collections::BTreeSet, ops::ControlFlow};

/// A statement that may run.
#[derive(Debug)]
pub(crate) enum Checked {
    /// Runs in polars.
    Query(Reads),
    /// Lists the tables.
    ShowTables,
    /// Lists the columns of a table.
    Describe(String),
}

/// A query and what it touches.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The text for polars.
    pub(crate) sql: String,
    /// Our tables that it names.
    pub(crate) tables: BTreeSet<String>,
    /// Names that may be columns; `None` = any column may be read.
    pub(crate) columns: Option<BTreeSet<String>>,
    /// Whether some step holds all rows at once: sort, join, distinct, window.
    pub(crate) holds_rows: bool,
    /// Tables as often as they are named, if some are joined without a condition: every row with every row.
    pub(crate) crossed: Vec<String>,
    /// Whether it only explains.
    pub(crate) explains: bool,
}

/// Checks a statement against the tables that exist.
pub(crate) fn check(sql: &str, tables: &[&str]) -> Result<Checked, StoreError> {
    bounds::fits(sql)?;
    let sql = numbers::spelt_out(arrows::to_calls(sql));
    let options = ParserOptions { trailing_commas: true, ..ParserOptions::default() };
    let mut statements = Parser::new(&GenericDialect)
        .with_options(options)
        .with_recursion_limit(64)
        .try_with_sql(&sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| StoreError::Statement(format!("the statement cannot be read: {error}")))?;
    let (Some(statement), 0) = (statements.pop(), statements.len()) else {
        return Err(refused("send exactly one statement".to_owned()));
    };
    match &statement {
        Statement::ShowTables { .. } => Ok(Checked::ShowTables),
        Statement::ExplainTable { describe_alias: DescribeAlias::Describe | DescribeAlias::Desc, table_name, .. } => {
            let name = table_name.to_string();
            known(&name, tables)?;
            Ok(Checked::Describe(name))
        }
        Statement::Explain { statement: inner, analyze: false, .. } if matches!(**inner, Statement::Query(_)) => {
            let reads = reads(inner, tables)?;
            Ok(Checked::Query(Reads { sql, explains: true, ..reads }))
        }
        Statement::Query(_) => Ok(Checked::Query(Reads { sql, ..reads(&statement, tables)? })),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or("this").to_uppercase();
            Err(refused(format!("{verb} is not allowed, only reading is: SELECT, WITH, SHOW TABLES, DESCRIBE or EXPLAIN")))
        }
    }
}

fn refused(message: String) -> StoreError {
    StoreError::Refused(message)
}

fn known(name: &str, tables: &[&str]) -> Result<(), StoreError> {
    if tables.contains(&name) {
        return Ok(());
    }
    Err(StoreError::Statement(format!("there is no table `{name}`; there are: {}", tables.join(", "))))
}

fn reads(statement: &Statement, tables: &[&str]) -> Result<Reads, StoreError> {
    let mut look = Look {
        tables,
        reads: Reads { columns: Some(BTreeSet::new()), ..Reads::default() },
        ctes: BTreeSet::new(),
        all: false,
        named: Vec::new(),
        crosses: false,
    };
    if let ControlFlow::Break(error) = statement.visit(&mut look) {
        return Err(error);
    }
    let mut reads = look.reads;
    if look.crosses {
        reads.crossed = look.named;
    }
    if look.all {
        reads.columns = None;
    }
    Ok(reads)
}

/// Walks a statement: collects what it reads, refuses what it must not.
struct Look<'a> {
    tables: &'a [&'a str],
    reads: Reads,
    ctes: BTreeSet<String>,
    all: bool,
    named: Vec<String>,
    crosses: bool,
}

/// Whether a join has no condition.
const fn is_cross(join: &JoinOperator) -> bool {
    match join {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on) => matches!(on, JoinConstraint::None),
        JoinOperator::CrossJoin(_) => true,
        _ => false,
    }
}

impl Look<'_> {
    fn body(&mut self, body: &SetExpr) -> Result<(), StoreError> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(_) | SetExpr::Values(_) => Ok(()),
            SetExpr::SetOperation { left, right, .. } => {
                self.reads.holds_rows = true;
                // Columns are matched by place, so none may be left out... which wildcards see to.
                self.body(left)?;
                self.body(right)
            }
            other => Err(refused(format!("`{}` is not allowed, only reading is", first_word(&other.to_string())))),
        }
    }

    fn select(&mut self, select: &Select) -> Result<(), StoreError> {
        if select.into.is_some() {
            return Err(refused("SELECT INTO is not allowed, only reading is".to_owned()));
        }
        if select.from.is_empty() && select.selection.is_some() {
            return Err(refused("WHERE without FROM filters nothing: name a table".to_owned()));
        }
        self.reads.holds_rows |= select.distinct.is_some();
        for item in &select.projection {
            self.all |= matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        }
        for join in select.from.iter().flat_map(|table| &table.joins) {
            self.reads.holds_rows = true;
            self.all |= match &join.join_operator {
                JoinOperator::Join(on)
                | JoinOperator::Inner(on)
                | JoinOperator::Left(on)
                | JoinOperator::LeftOuter(on)
                | JoinOperator::Right(on)
                | JoinOperator::RightOuter(on)
                | JoinOperator::FullOuter(on) => !matches!(on, JoinConstraint::On(_)),
                _ => true,
            };
        }
        self.crosses |= select.from.iter().flat_map(|table| &table.joins).any(|join| is_cross(&join.join_operator));
        if select.from.len() > 1 {
            self.reads.holds_rows = true;
            self.crosses = true;
        }
        Ok(())
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_uppercase()
}

/// `Break` with the error, for the visitor.
fn or_break(result: Result<(), StoreError>) -> ControlFlow<StoreError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Visitor for Look<'_> {
    type Break = StoreError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<StoreError> {
        if let Some(with) = &query.with {
            if with.recursive {
                return ControlFlow::Break(refused("WITH RECURSIVE is not supported".to_owned()));
            }
            self.ctes.extend(with.cte_tables.iter().map(|cte| cte.alias.name.value.clone()));
        }
        if !query.locks.is_empty() {
            return ControlFlow::Break(refused("FOR UPDATE and FOR SHARE are not allowed, only reading is".to_owned()));
        }
        self.reads.holds_rows |= query.order_by.is_some();
        or_break(self.body(&query.body))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<StoreError> {
        let checked = match factor {
            TableFactor::Table { name, args: None, .. } => {
                let name = match name.0.as_slice() {
                    [part] => part.as_ident().map(|ident| ident.value.clone()).unwrap_or_default(),
                    _ => name.to_string(),
                };
                if self.ctes.contains(&name) {
                    Ok(())
                } else {
                    known(&name, self.tables).map(|()| {
                        self.named.push(name.clone());
                        self.reads.tables.insert(name);
                    })
                }
            }
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } | TableFactor::UNNEST { .. } => Ok(()),
            TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
                Err(refused(format!("the table function `{name}` is not allowed; read one of: {}", self.tables.join(", "))))
            }
            other => Err(refused(format!("`{other}` is not allowed; read one of: {}", self.tables.join(", ")))),
        };
        or_break(checked)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<StoreError> {
        let columns = self.reads.columns.get_or_insert_default();
        match expr {
            Expr::Identifier(ident) => {
                columns.insert(ident.value.clone());
            }
            Expr::CompoundIdentifier(idents) => columns.extend(idents.iter().map(|ident| ident.value.clone())),
            Expr::Function(Function { name, over, .. }) => {
                self.all |= name.to_string().eq_ignore_ascii_case("columns");
                self.reads.holds_rows |= over.is_some();
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => self.all = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::Class;

    const TABLES: &[&str] = &["spans", "logs"];

    fn query(sql: &str) -> Reads {
        match check(sql, TABLES) {
            Ok(Checked::Query(reads)) => reads,
            other => panic!("{sql} should be a query, not {other:?}"),
        }
    }

    #[test]
    fn only_reading_our_tables_is_allowed() {
        for sql in [
            "CREATE TABLE x AS SELECT * FROM spans",
            "INSERT INTO spans VALUES (1)",
            "UPDATE spans SET name = ''",
            "DELETE FROM spans",
            "DROP TABLE spans",
            "TRUNCATE TABLE spans",
            "COPY spans TO '/tmp/x'",
            "ATTACH DATABASE 'x' AS y",
            "SET x = 1",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_parquet('/etc/passwd')",
            "SELECT * FROM spans, read_json('/etc/passwd')",
            "SELECT (SELECT count(*) FROM read_ipc('/x')) FROM spans",
            "WITH a AS (SELECT * FROM read_csv('x')) SELECT * FROM a",
            "SELECT * INTO other FROM spans",
            "SELECT 1; SELECT 2",
            "EXPLAIN DELETE FROM spans",
            "EXPLAIN CREATE TABLE x AS SELECT 1",
            "SELECT * FROM TABLE(read_csv('x'))",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM spans FOR UPDATE",
            "SELECT 1 WHERE 1 = 0",
            "",
            ";",
            "hello",
        ] {
            let error = check(sql, TABLES).expect_err(sql);
            assert_eq!(error.class(), Class::Reject, "{sql}: {error}");
        }
    }

    #[test]
    fn a_query_says_what_it_reads() {
        let reads = query("SELECT service, count(*) AS n FROM spans WHERE duration_ns > 5 GROUP BY service ORDER BY n DESC");
        assert_eq!(reads.tables, BTreeSet::from(["spans".to_owned()]));
        let columns = reads.columns.expect("no wildcard");
        assert!(columns.contains("service") && columns.contains("duration_ns") && !columns.contains("attributes"));
        assert!(query("SELECT * FROM spans").columns.is_none());
        assert!(query("WITH s AS (SELECT * FROM logs) SELECT body FROM s").columns.is_none());
        assert!(query("SELECT a.name FROM spans a JOIN logs b USING (trace_id)").columns.is_none());
        assert!(!query("SELECT count(*) FROM spans").holds_rows);
        for every in ["SELECT 1 FROM spans a, logs b", "SELECT 1 FROM spans CROSS JOIN logs"] {
            assert_eq!(query(every).crossed, ["spans", "logs"], "{every}");
        }
        assert!(query("SELECT a.name FROM spans a JOIN logs b ON a.span_id = b.span_id").crossed.is_empty());
    }

    #[test]
    fn an_attribute_becomes_a_function() {
        let reads = query("SELECT attributes ->> 'http.route' FROM spans WHERE attributes->>'a' = 'b'");
        assert!(reads.sql.contains("json_get(attributes, 'http.route')"), "{}", reads.sql);
        assert!(reads.sql.contains("json_get(attributes, 'a') = 'b'"), "{}", reads.sql);
    }

    #[test]
    fn an_unknown_table_lists_those_that_exist() {
        let message = check("SELECT * FROM span", TABLES).expect_err("no such table").to_string();
        assert_eq!(message, "there is no table `span`; there are: spans, logs");
    }
}
