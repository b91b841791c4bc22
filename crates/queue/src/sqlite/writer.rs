//! The writer thread. Concurrent calls share a transaction and an fsync.

use std::sync::mpsc::Receiver;

use rusqlite::{Connection, TransactionBehavior};
use sqlite::Job;
use tokio::sync::oneshot;

use super::error::classify;
use crate::error::QueueError;

/// Most calls in one transaction.
const GROUP: usize = 32;

/// A call to the writer thread.
pub(super) trait Write: Send {
    /// Runs in the transaction. After an error, only this call is rolled back.
    fn run(&mut self, connection: &Connection) -> Result<(), QueueError>;
    /// Sends the result to the caller after the transaction's end.
    fn answer(self: Box<Self>, end: &Result<(), QueueError>);
}

/// A call that runs `work` and sends its result.
pub(super) struct Call<T, W> {
    work: Option<W>,
    outcome: Option<Result<T, QueueError>>,
    answer: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, W> Call<T, W> {
    pub(super) fn new(work: W) -> (Self, oneshot::Receiver<Result<T, QueueError>>) {
        let (answer, answered) = oneshot::channel();
        let call = Self {
            work: Some(work),
            outcome: None,
            answer,
        };
        (call, answered)
    }
}

impl<T, W> Write for Call<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, QueueError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), QueueError> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        match work(connection) {
            Ok(value) => {
                self.outcome = Some(Ok(value));
                Ok(())
            }
            Err(error) => {
                self.outcome = Some(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn answer(self: Box<Self>, end: &Result<(), QueueError>) {
        let answer = match (end, self.outcome) {
            // The call's own error; it was rolled back before the transaction's end.
            (Ok(()), Some(outcome)) => outcome,
            (Err(_), Some(Err(own))) => Err(own),
            (Err(end), _) => Err(end.clone()),
            // A successful transaction has run all its calls.
            (Ok(()), None) => Err(QueueError::Unknown("the call was left out".into())),
        };
        // Fails if the caller was dropped.
        let _ = self.answer.send(answer);
    }
}

/// Runs until the last handle is dropped.
pub(super) fn serve(mut connection: Connection, jobs: &Receiver<Job<Box<dyn Write>>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first.job];
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next.job);
        }
        let end = transact(&mut connection, &mut group);
        for call in group {
            call.answer(&end);
        }
    }
}

fn transact(connection: &mut Connection, group: &mut [Box<dyn Write>]) -> Result<(), QueueError> {
    let refused = |error: rusqlite::Error| classify(&error);
    let mut transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(refused)?;
    if let [alone] = group {
        if alone.run(&transaction).is_err() {
            // Dropping it rolls it back.
            return Ok(());
        }
    } else {
        for job in group {
            let part = transaction.savepoint().map_err(refused)?;
            match job.run(&part) {
                Ok(()) => part.commit().map_err(refused)?,
                Err(error) => {
                    drop(part);
                    // Some errors, such as a full disk, roll the whole transaction back.
                    if transaction.is_autocommit() {
                        return Err(error);
                    }
                }
            }
        }
    }
    // A failed commit may still be durable.
    transaction
        .commit()
        .map_err(|error| match classify(&error) {
            QueueError::Unavailable { detail, .. } => QueueError::Unknown(detail),
            other => other,
        })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tokio::sync::oneshot::Receiver;

    use super::{Call, Write, transact};
    use crate::error::QueueError;

    type Answer = Receiver<Result<i64, QueueError>>;

    /// A call that inserts a number and then fails if `fails`.
    fn insert(number: i64, fails: bool) -> (Box<dyn Write>, Answer) {
        let (call, answered) = Call::new(move |connection: &Connection| {
            connection
                .execute("INSERT INTO numbers VALUES (?1)", [number])
                .map_err(|error| QueueError::Unknown(error.to_string()))?;
            if fails {
                Err(QueueError::Fenced)
            } else {
                Ok(number)
            }
        });
        (Box::new(call), answered)
    }

    fn run(calls: Vec<(Box<dyn Write>, Answer)>) -> (Vec<i64>, Vec<Result<i64, QueueError>>) {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute("CREATE TABLE numbers (number)", [])
            .unwrap();
        let (mut group, answers): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let end = transact(&mut connection, &mut group);
        for job in group {
            job.answer(&end);
        }
        let mut select = connection.prepare("SELECT number FROM numbers").unwrap();
        let kept = select.query_map([], |row| row.get(0)).unwrap();
        let kept = kept.collect::<Result<_, _>>().unwrap();
        let answers = answers
            .into_iter()
            .map(|mut answer| answer.try_recv().unwrap());
        (kept, answers.collect())
    }

    #[test]
    fn error_rolls_back_its_own_call_only() {
        let calls = vec![insert(1, false), insert(2, true), insert(3, false)];
        let (kept, answers) = run(calls);
        assert_eq!(kept, [1, 3]);
        assert_eq!(answers, [Ok(1), Err(QueueError::Fenced), Ok(3)]);
        assert_eq!(run(vec![insert(4, true)]).0, [0_i64; 0]);
    }
}
