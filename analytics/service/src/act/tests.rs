//! Programs that end, fail, hang; requests that were begun before a crash.

use super::{Errand, LocalEffector, Past, run};
use crate::{outgoing::Outgoing, wiring::Submitter};
use geophone_ingest::{Sampling, Throttle};
use geophone_proto::{
    RecordBody, Seq, UnixNanos,
    action::{ActionRequest, Operation, Outcome},
    seam::{Clock, Effector},
};
use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use tokio::{runtime::Runtime, sync::mpsc};

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixNanos {
        UnixNanos(1)
    }
}

fn request(operation: Operation) -> ActionRequest {
    ActionRequest { action_id: "a1".into(), incident_id: "i1".into(), service: "payment".into(), operation, is_undo: false }
}

fn exec(command: &[&str], timeout: Duration) -> Outcome {
    let runtime = Runtime::new().expect("a runtime");
    let mut effector = LocalEffector {
        runtime: runtime.handle().clone(),
        outgoing: Outgoing::default(),
        clock: Arc::new(Stopped),
        throttle: Throttle::default(),
        sampling: Sampling::default(),
    };
    effector.perform(&request(Operation::Exec { command: command.iter().map(|word| (*word).into()).collect(), timeout }))
}

#[test]
fn a_program_runs_without_a_shell_and_its_output_is_kept() {
    let outcome = exec(&["/bin/echo", "$HOME; exit 1"], Duration::from_secs(10));
    assert_eq!((outcome.succeeded, outcome.output.as_str()), (Some(true), "$HOME; exit 1"));
}

#[test]
fn a_relative_program_is_refused_and_a_failing_one_says_so() {
    assert!(exec(&["echo"], Duration::from_secs(10)).output.contains("absolute path"));
    assert_eq!(exec(&["/bin/false"], Duration::from_secs(10)).succeeded, Some(false));
}

#[test]
fn a_hanging_program_is_killed_with_its_children() {
    let outcome = exec(&["/bin/sh", "-c", "/bin/sleep 600 & /bin/sleep 600"], Duration::from_millis(200));
    assert_eq!(outcome.succeeded, Some(false));
    assert!(outcome.output.contains("was killed"), "{}", outcome.output);
}

/// An effector that must not be called.
struct Forbidden;

impl Effector for Forbidden {
    fn perform(&mut self, request: &ActionRequest) -> Outcome {
        panic!("done again: {request:?}");
    }
}

/// Runs requests against a log that takes everything; returns the outcomes logged.
fn logged<E: Effector>(effectors: Vec<E>, past: Past, requests: Vec<ActionRequest>) -> Vec<Outcome> {
    logged_after(0, effectors, past, requests)
}

/// The same against a log that has no room for the first few records.
fn logged_after<E: Effector>(refused: usize, effectors: Vec<E>, past: Past, requests: Vec<ActionRequest>) -> Vec<Outcome> {
    let (submitter, mut submissions) = Submitter::new(10);
    let (sender, receiver) = mpsc::channel(10);
    let log = std::thread::spawn(move || {
        let (mut outcomes, mut refused) = (Vec::new(), refused);
        while let Some(submission) = submissions.blocking_recv() {
            if refused > 0 {
                refused -= 1;
                submission.done.send(Err("no space left".into())).expect("the errand waits");
                continue;
            }
            if let RecordBody::Outcome(outcome) = submission.body {
                outcomes.push(outcome);
            }
            submission.done.send(Ok(Seq(0))).expect("the errand waits");
        }
        outcomes
    });
    let errands = requests.into_iter().map(|request| Errand { request, caused_at: UnixNanos(0) });
    errands.for_each(|errand| sender.blocking_send(errand).expect("there is room"));
    drop(sender);
    run(receiver, effectors, &submitter, past, &Stopped);
    drop(submitter);
    log.join().expect("the log does not panic")
}

/// Scenario: a request arrives twice, its outcome being in the log; another was begun when the process died.
/// Guarantees: neither is done again; the second's outcome says that it is unknown.
#[test]
fn nothing_is_done_twice_over_a_crash() {
    let mut past = Past::default();
    let outcome = |id: &str, succeeded| Outcome { action_id: id.into(), is_undo: false, succeeded, output: String::new() };
    past.see(&outcome("a1", None));
    past.see(&outcome("a1", Some(true)));
    past.see(&outcome("a2", None));
    let throttle = Operation::Throttle { service: String::new(), delay: Duration::ZERO, lasting: Duration::ZERO };
    let again = request(throttle);
    let outcomes = logged(vec![Forbidden], past, vec![again.clone(), ActionRequest { action_id: "a2".into(), ..again }]);
    assert_eq!(outcomes.len(), 1);
    assert_eq!((outcomes[0].action_id.as_str(), outcomes[0].succeeded), ("a2", Some(false)));
}

/// An effector whose every deed succeeds.
struct Fine;

impl Effector for Fine {
    fn perform(&mut self, request: &ActionRequest) -> Outcome {
        Outcome { action_id: request.action_id.clone(), is_undo: false, succeeded: Some(true), output: "done".into() }
    }
}

/// Scenario: the log has no room for the beginning of a request; the request comes once more when it has.
/// Guarantees: nothing is done without a trace in the log, and the second time it is done.
#[test]
fn what_could_not_be_begun_may_be_asked_again() {
    let exec = request(Operation::Exec { command: Vec::new(), timeout: Duration::ZERO });
    let outcomes = logged_after(1, vec![Fine], Past::default(), vec![exec.clone(), exec]);
    assert_eq!(outcomes.iter().map(|outcome| outcome.succeeded).collect::<Vec<_>>(), [None, Some(true)]);
}

/// Guarantees: the beginning is in the log before anything is done.
#[test]
fn the_beginning_is_logged_first() {
    let http = Operation::Http {
        url: String::new(),
        method: String::new(),
        headers: Default::default(),
        body: String::new(),
        timeout: Duration::ZERO,
    };
    let outcomes = logged(vec![Fine], Past::default(), vec![request(http)]);
    assert_eq!(outcomes.iter().map(|outcome| outcome.succeeded).collect::<Vec<_>>(), [None, Some(true)]);
}

/// Scenario: one action cannot end before another, decided later, has begun.
/// Guarantees: the later one is begun meanwhile, and both end well.
#[test]
fn a_slow_action_does_not_hold_up_another() {
    struct Patient(Arc<(Mutex<usize>, Condvar)>);
    impl Effector for Patient {
        fn perform(&mut self, request: &ActionRequest) -> Outcome {
            let (begun, change) = &*self.0;
            let mut count = begun.lock().expect("nobody panics");
            *count += 1;
            change.notify_all();
            let (count, late) = change.wait_timeout_while(count, Duration::from_secs(10), |count| *count < 2).expect("nobody panics");
            let succeeded = Some(*count == 2 && !late.timed_out());
            Outcome { action_id: request.action_id.clone(), is_undo: false, succeeded, output: String::new() }
        }
    }
    let begun = Arc::new((Mutex::new(0), Condvar::new()));
    let sample = request(Operation::Sample { service: String::new(), ratio: 1.0, lasting: Duration::ZERO });
    let requests = vec![sample.clone(), ActionRequest { action_id: "a2".into(), ..sample }];
    let outcomes = logged(vec![Patient(begun.clone()), Patient(begun)], Past::default(), requests);
    let ended: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.succeeded).collect();
    assert_eq!((outcomes.len(), ended), (4, vec![true, true]));
}
