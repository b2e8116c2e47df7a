//! The generator against the floor, both in this process.

use std::{error::Error, sync::Arc, time::Duration};

use tidegate_swarm::{
    floor::{Floor, Options},
    publishers::{self, Stamp, Style},
    scenario::{Cycles, Idle, Load, LoadReport},
    subscribers,
    target::Target,
    usage::Server,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn readers(floor: &Floor, readers: usize, per_room: usize) -> Result<subscribers::Plan> {
    let target = Target::new(format!("http://{}", floor.addr()).parse()?, "room", "load")?;
    Ok(subscribers::Plan {
        target: Arc::new(target),
        readers,
        per_room,
        threads: 2,
        sources: 4,
        connect_rate: 0.0,
        in_flight: 64,
        stalled: 0.0,
        stalled_buffer: 4096,
        leave_after: None,
        reconnect: false,
        resume: false,
        from_start: true,
    })
}

fn load(readers: subscribers::Plan, rate: f64, burst: u32, style: Style) -> Load {
    let publishers = publishers::Plan {
        target: Arc::clone(&readers.target),
        rooms: readers.rooms(),
        rate,
        burst,
        across: 1,
        bytes: 200,
        duration: Duration::from_secs(1),
        connections: 2,
        pipeline: burst as usize,
        spread: false,
        retries: 0,
        style,
        stamp: Stamp::Intended,
        patience: Duration::from_secs(10),
    };
    Load {
        readers,
        publishers: Some(publishers),
        server: Server::own(),
        open: Duration::from_secs(10),
        settle: Duration::from_millis(10),
        quiet: Duration::from_secs(5),
        catch_up: Duration::from_secs(60),
        read: Duration::ZERO,
    }
}

fn assert_complete(report: &LoadReport, events: u64) {
    let published = report.publishers.as_ref().map_or(0, |p| p.accepted);
    assert_eq!(published, events);
    assert!(report.is_clean(), "{report:?}");
    assert!(report.readers.deliveries > 0);
    assert_eq!(report.readers.deliveries, report.expected);
    assert_eq!(report.readers.latency.count(), report.expected);
}

#[test]
fn every_reader_gets_every_event_once_and_in_order() -> Result {
    for (batched, burst, style) in
        [(false, 1, Style::Single), (true, 20, Style::Single), (true, 20, Style::Batch)]
    {
        let floor =
            Floor::start("127.0.0.1:0".parse()?, Options { batched, ..Options::default() })?;
        let report = load(readers(&floor, 60, 20)?, 120.0, burst, style).run()?;
        assert_complete(&report, 120);
        assert_eq!(report.expected, 120 / 3 * 60);
        floor.stop()?;
    }
    Ok(())
}

#[test]
fn one_request_may_have_the_events_of_many_rooms() -> Result {
    for style in [Style::Batch, Style::Single] {
        let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
        let mut load = load(readers(&floor, 40, 1)?, 400.0, 1, style);
        if let Some(publishers) = &mut load.publishers {
            (publishers.across, publishers.pipeline) = (10, 10);
        }
        assert_complete(&load.run()?, 400);
        floor.stop()?;
    }
    Ok(())
}

#[test]
fn a_slow_rate_has_at_least_one_burst() -> Result {
    let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
    assert_complete(&load(readers(&floor, 2, 2)?, 1.0, 20, Style::Batch).run()?, 20);
    floor.stop()?;
    Ok(())
}

#[test]
fn stalled_readers_are_cut_and_the_others_miss_nothing() -> Result {
    let options = Options { batched: true, ring_bytes: 65_536, ..Options::default() };
    let floor = Floor::start("127.0.0.1:0".parse()?, options)?;
    let plan = subscribers::Plan { stalled: 0.25, ..readers(&floor, 8, 8)? };
    let mut load = load(plan, 200.0, 1, Style::Single);
    if let Some(publishers) = &mut load.publishers {
        // Past what the kernel buffers for a socket.
        publishers.bytes = 100_000;
    }
    let report = load.run()?;
    assert_eq!(report.readers.stalled, 2);
    assert_complete(&report, 200);
    assert_eq!(floor.stop()?.cut, 2);
    Ok(())
}

#[test]
fn readers_that_leave_and_come_again_see_no_hole_within_a_stream() -> Result {
    let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
    let plan = subscribers::Plan { leave_after: Some(5), ..readers(&floor, 20, 20)? };
    let load = Load { quiet: Duration::from_millis(300), ..load(plan, 200.0, 1, Style::Single) };
    let report = load.run()?;
    assert!(report.is_clean(), "{report:?}");
    assert!(report.readers.left > 20, "{}", report.readers.left);
    assert!(report.readers.opened > 20);
    floor.stop()?;
    Ok(())
}

#[test]
fn what_a_server_refuses_is_not_called_lost() -> Result {
    let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
    let mut load = load(readers(&floor, 3, 3)?, 20.0, 1, Style::Single);
    load.quiet = Duration::from_millis(100);
    if let Some(publishers) = &mut load.publishers {
        let target = (*publishers.target).clone().with_paths("/nowhere", "/nowhere")?;
        publishers.target = Arc::new(target);
    }
    let report = load.run()?;
    let publishers = report.publishers.as_ref().ok_or("no publishers")?;
    assert_eq!((publishers.accepted, publishers.refused.total()), (0, 20));
    assert_eq!((report.lost(), report.refused_deliveries, report.expected), (0, 60, 0));
    assert!(!report.is_clean(), "nothing was delivered");
    floor.stop()?;
    Ok(())
}

#[test]
fn idle_streams_are_opened_step_by_step() -> Result {
    let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
    let idle = Idle {
        readers: readers(&floor, 300, 1)?,
        steps: vec![100, 300],
        server: Server::own(),
        open: Duration::from_secs(10),
        settle: Duration::ZERO,
        hold: Duration::ZERO,
    };
    let report = idle.run()?;
    let open: Vec<usize> = report.steps.iter().map(|step| step.open).collect();
    assert_eq!(open, [100, 300]);
    assert!(report.bytes_per_stream().is_some());
    floor.stop()?;
    Ok(())
}

#[test]
fn streams_come_and_go_as_often_as_they_are_told_to() -> Result {
    let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
    let cycles = Cycles {
        readers: readers(&floor, 20, 20)?,
        cycles: 70,
        readings: 2,
        server: Server::own(),
        open: Duration::from_secs(10),
        hold: Duration::ZERO,
        settle: Duration::ZERO,
    };
    let report = cycles.run()?;
    let read: Vec<_> = report.readings.iter().map(|reading| reading.cycles).collect();
    // A reading is made after the round that gets there.
    assert_eq!(read, [0, 40, 70]);
    assert_eq!(report.failed, 0);
    assert!(report.grown(0, 2).is_some() && report.most.is_some());
    Ok(())
}
