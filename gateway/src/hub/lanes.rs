//! Who writes to parked readers: a few threads, each with rows of its own, and whoever routes where
//! there are only a few to write to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Condvar, Mutex};

use super::Hub;
use super::batch::Batches;
use super::room::Room;
use super::row::Row;

/// So many readers are written to by whoever routes: waking a thread costs as much as writing to
/// one, and takes longer.
const AT_ONCE: usize = 16;

/// Readers for whom something has come.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// Those who wait as tasks.
    pub(super) wakers: Vec<Waker>,
    /// Rows of those who are parked.
    pub(super) rows: Vec<(Arc<Room>, Arc<Row>)>,
    /// How many are parked there.
    pub(super) parked: usize,
}

/// A thread's work.
#[derive(Debug, Default)]
struct Lane {
    queue: Mutex<Queue>,
    come: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    rows: Vec<(Arc<Room>, Arc<Row>)>,
    is_idle: bool,
    is_closed: bool,
}

/// The threads' work. Without any, whoever routes writes to all.
#[derive(Debug, Default)]
pub(super) struct Lanes(Box<[Lane]>);

impl Lanes {
    /// For so many threads.
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Lane::default()).collect())
    }

    /// Has everybody written to or woken. Called without any lock, and keeps the buffers.
    pub(super) fn wake(&self, woken: &mut Woken) {
        woken.wakers.drain(..).for_each(Waker::wake);
        if self.0.is_empty() || woken.parked <= AT_ONCE {
            let mut batches = Batches::default();
            for (room, row) in woken.rows.drain(..) {
                write(&room, &row, &mut batches);
            }
        } else {
            self.hand_out(&mut woken.rows);
        }
        woken.parked = 0;
    }

    fn hand_out(&self, rows: &mut Vec<(Arc<Room>, Arc<Row>)>) {
        rows.retain(|(_, row)| row.queue());
        for (number, lane) in self.0.iter().enumerate() {
            let of_lane = |job: &mut (Arc<Room>, Arc<Row>)| job.1.lane % self.0.len() == number;
            let mut own = rows.extract_if(.., of_lane).peekable();
            if own.peek().is_none() {
                continue;
            }
            let mut queue = lane.queue.lock();
            queue.rows.extend(own);
            let is_idle = std::mem::take(&mut queue.is_idle);
            drop(queue);
            if is_idle {
                lane.come.notify_one();
            }
        }
    }

    /// Does the work of a lane until it is closed.
    fn run(&self, number: usize) {
        let Some(lane) = self.0.get(number) else { return };
        let mut rows = Vec::new();
        let mut batches = Batches::default();
        loop {
            {
                let mut queue = lane.queue.lock();
                while queue.rows.is_empty() {
                    if queue.is_closed {
                        return;
                    }
                    queue.is_idle = true;
                    lane.come.wait(&mut queue);
                }
                queue.is_idle = false;
                std::mem::swap(&mut queue.rows, &mut rows);
            }
            for (room, row) in rows.drain(..) {
                row.unqueue();
                write(&room, &row, &mut batches);
            }
            // An idle thread keeps no room, and no event, alive.
            batches.clear();
        }
    }

    fn close(&self) {
        for lane in &self.0 {
            lane.queue.lock().is_closed = true;
            lane.come.notify_one();
        }
    }
}

/// Writes to a row. If that breaks, its readers' tasks go on by themselves: it costs neither the thread
/// nor anybody an event.
fn write(room: &Arc<Room>, row: &Row, batches: &mut Batches) {
    let wrote = catch_unwind(AssertUnwindSafe(|| row.write(room, &mut *batches)));
    if wrote.is_err() {
        tracing::error!("writing to parked readers broke; their streams go on without");
        batches.clear();
        row.give_back();
    }
}

impl Hub {
    /// How many lanes there are.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.0.len()
    }

    /// Writes to the parked readers of a lane, for ever: what a thread of its own does. Lanes are
    /// numbered from 0.
    pub fn run_lane(&self, number: usize) {
        self.lanes.run(number);
    }

    /// Ends [`Hub::run_lane`] when what is queued is written.
    pub fn close_lanes(&self) {
        self.lanes.close();
    }
}
