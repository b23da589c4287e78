//! One demo from start to end: server, shop, comparison, and what is printed meanwhile.

use super::{
    args::DemoArgs,
    control::{Control, SharedShop, open},
    drive::Drive,
    outsider::{Found, Outsider},
    report::{Report, word},
    senders::Senders,
    server::{Server, Wanted},
    till::{self, TillProcess},
};
use crate::{commands::Format, error::ServiceError};
use geophone_client::shop::{Floor, Pace, Schedule, Shop};
use geophone_proto::{UnixNanos, seam::Clock, time::SECOND_NS};
use std::{
    fmt::Write as _,
    io::{Write, stderr, stdout},
    sync::{Arc, Mutex},
};

/// Calm before the first fault of a further schedule, in seconds: the service has warmed up by then.
const FURTHER_CALM_S: f64 = 180.0;

/// A demo that is about to run.
pub struct Session {
    args: DemoArgs,
    clock: Arc<dyn Clock>,
    schedule: Schedule,
    shop: SharedShop,
    format: Format,
}

impl Session {
    /// Places the schedule so that it ends about now. It begins on a full minute, so that windows cut
    /// the same seed's traffic in the same places in every run.
    pub fn start(args: DemoArgs, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        let rehearsal = Schedule::seeded(args.seed, UnixNanos(0), &args.pace());
        let start = clock.now().minus(rehearsal.end.0).0;
        let start = UnixNanos(start - start % (60 * SECOND_NS));
        let schedule = Schedule::seeded(args.seed, start, &args.pace());
        let shop = Arc::new(Mutex::new(Shop::new(args.seed, start, &schedule)));
        let format = args.format.format();
        Ok(Self { args, clock, schedule, shop, format })
    }

    /// Runs until the check is done or somebody interrupts.
    pub async fn run(self) -> Result<(), ServiceError> {
        let control = Control::start(self.shop.clone()).await?;
        let wanted = Wanted {
            http: self.args.http_endpoint.clone(),
            otlp_grpc: self.args.otlp_grpc_endpoint.clone(),
            otlp_http: self.args.otlp_http_endpoint.clone(),
            page_port_is_free: self.args.check,
            policies: policies(control.address),
        };
        let server = Server::start(wanted, self.clock.clone()).await?;
        let outcome = tokio::select! {
            outcome = self.show(&server) => outcome,
            () = server.failed() => Err(ServiceError::Stopped("service")),
            interrupted = interruption() => interrupted.and_then(|()| {
                if self.args.check { Err(ServiceError::Negative("interrupted before the schedule was over".into())) } else { Ok(()) }
            }),
        };
        drop(control);
        let stopped = server.stop().await;
        outcome.and(stopped)
    }

    async fn show(&self, server: &Server) -> Result<(), ServiceError> {
        let endpoints = server.endpoints();
        self.tell(&format!("page: http://{}/", endpoints.http))?;
        self.tell(&self.announcement())?;
        let senders = Senders::new(endpoints, self.args.seed);
        let mut drive = Drive::new(self.shop.clone(), senders, Outsider::new(endpoints.http));
        let tell = |found: &Found| self.tell(&news(found));
        drive.until(self.schedule.end, self.args.speed, &tell).await?;
        drive.outsider.catch_up(0).await?;
        let incidents = drive.outsider.incidents().await?;
        let report = Report::compare(&self.schedule, &incidents, &drive.outsider.actions().await?);
        self.print(&report)?;
        if self.args.check {
            return if report.is_green() {
                Ok(())
            } else {
                Err(ServiceError::Negative("the check is not green: see the comparison".into()))
            };
        }
        self.go_on(&mut drive, &endpoints.otlp_grpc.to_string()).await
    }

    /// Real time from here on, with new faults on and on.
    async fn go_on(&self, drive: &mut Drive, otlp: &str) -> Result<(), ServiceError> {
        let till = TillProcess::start(otlp)?;
        self.tell(&format!(
            "a real process has joined: service till, pid {}; in the last {} of every {} minutes it is slow in one function, apply_every_voucher",
            till.pid(),
            till::SLOW.as_secs() / 60,
            till::ROUND.as_secs() / 60,
        ))?;
        self.tell("the shop stays open, with new faults now and then; Ctrl-C ends it")?;
        let tell = |found: &Found| self.tell(&news(found));
        let pace = Pace { warm_up_s: FURTHER_CALM_S, ..Pace::default() };
        for day in 1.. {
            let now = open(&self.shop).now();
            let floor = open(&self.shop).floor().clone();
            let further = Schedule::on_floor(&floor, self.args.seed.wrapping_add(day << 32), now, &pace);
            open(&self.shop).add(&further);
            drive.keep_up(further.end, self.args.speed, &*self.clock, &tell).await?;
        }
        Ok(())
    }

    fn announcement(&self) -> String {
        let minutes = self.schedule.end.since(self.schedule.start) / SECOND_NS / 60;
        let mut text =
            format!("shop: {minutes} minutes from {}, {} times as fast; what will go wrong:", self.schedule.start, self.args.speed);
        for fault in &self.schedule.faults {
            let (kind, from, to) = (word(&fault.kind), time(fault.from), time(fault.to));
            let _ = write!(text, "\n  {from} to {to}  {kind:<16} {} {}", fault.service, fault.operation);
        }
        for event in &self.schedule.harmless {
            let (kind, from, to) = (word(&event.kind), time(event.from), time(event.to));
            let _ = write!(text, "\n  {from} to {to}  {kind:<16} {} (harmless)", event.service);
        }
        text
    }

    /// Progress: to people on stdout, beside JSON on stderr.
    fn tell(&self, text: &str) -> Result<(), ServiceError> {
        let written = match self.format {
            Format::Table => writeln!(stdout().lock(), "{text}"),
            Format::Json | Format::Ndjson => writeln!(stderr().lock(), "{text}"),
        };
        written.map_err(ServiceError::io("write progress"))
    }

    fn print(&self, report: &Report) -> Result<(), ServiceError> {
        let text = match self.format {
            Format::Table => report.lines(),
            Format::Json | Format::Ndjson => serde_json::to_string(report).map_err(|error| ServiceError::Negative(error.to_string()))?,
        };
        writeln!(stdout().lock(), "{text}").map_err(ServiceError::io("write to stdout"))
    }
}

/// Hours, minutes and seconds of a moment.
fn time(at: UnixNanos) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

fn news(found: &Found) -> String {
    let suspect = found.suspects.first().map_or("nobody", |first| first.service.as_str());
    format!("{}  incident {}: {} (first suspect {suspect})", time(found.opened_at), found.id, found.title)
}

/// One policy per service, as an operator would write them who knows that a leak goes away with a
/// restart: they name no fault, and the engine alone decides whether any applies.
fn policies(control: std::net::SocketAddr) -> serde_json::Value {
    let one = |service: &str| {
        serde_json::json!({
            "name": format!("recycle-{service}"),
            "when": {"suspect": service, "operation": "process.memory.usage"},
            "do": {"http": {"url": format!("http://{control}/services/{service}/recycle")}},
            "verify_within": "5m",
        })
    };
    Floor::services().map(one).collect()
}

/// Ends when the process is asked to stop.
async fn interruption() -> Result<(), ServiceError> {
    let failed = || ServiceError::io("listen to signals");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map_err(failed()),
        _ = terminate.recv() => Ok(()),
    }
}
