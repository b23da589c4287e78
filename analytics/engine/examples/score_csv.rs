//! Scores series as the `score` command does: stdin `series_id,timestamp,value` or `timestamp,d1..dn` (then
//! the argument is the entity's id), stdout `series_id,timestamp,score,alert`.
//! `zcat nab.csv.gz | cargo run --release -p geophone-engine --example score_csv > scores.csv`

use geophone_engine::score::{Entity, Univariate};
use std::io::{self, BufRead, BufWriter, Write};

fn main() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "series_id,timestamp,score,alert")?;
    let number = |text: &str| text.trim().parse::<f64>().unwrap_or(f64::NAN);
    if header.starts_with("series_id") {
        let mut current = (String::new(), Univariate::default());
        for line in lines {
            let line = line?;
            let mut fields = line.trim_end().rsplitn(3, ',');
            let (value, time, id) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            if id != current.0 {
                current = (id.to_owned(), Univariate::default());
            }
            let row = current.1.row(number(time), number(value));
            writeln!(out, "{id},{time},{},{}", row.score, u8::from(row.alert))?;
        }
    } else {
        let id = std::env::args().nth(1).unwrap_or_else(|| "entity".into());
        let mut entity = Entity::new(header.split(',').count().saturating_sub(1));
        for line in lines {
            let line = line?;
            let (time, values) = line.split_once(',').unwrap_or((&line, ""));
            let values: Vec<f64> = values.split(',').map(number).collect();
            let row = entity.row(number(time), &values);
            writeln!(out, "{id},{time},{},{}", row.score, u8::from(row.alert))?;
        }
    }
    out.flush()
}
