use proptest::prelude::*;

use super::*;

fn group(pod: &str, n: u32) -> Group {
    Group::parse("p", &format!("p/{pod}/{n:08x}")).expect("a group")
}

fn pods(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn current(groups: &[Group]) -> HashMap<String, String> {
    groups.iter().map(|group| (group.pod.clone(), group.name.clone())).collect()
}

#[test]
fn what_pods_have_left_behind_is_abandoned() {
    let listed = [
        group("gone", 1),
        group("gone", 2),
        group("here", 3),
        group("here", 4),
        group("mute", 5),
        group("mute", 6),
        group("starting", 7),
    ];
    let pods = pods(&["here", "mute", "starting"]);
    // It has said that another one is its own, which had not been made when the groups were listed.
    let current = current(&[group("here", 4), group("starting", 8)]);
    let abandoned = abandoned(&listed, &pods, &current);
    assert_eq!(abandoned, [&listed[0], &listed[1], &listed[2], &listed[6]]);
}

proptest! {
    /// Whoever there is: a pod's present group is never taken, nor any of a pod that is there and
    /// does not say which one is its own; all of a pod that is gone are.
    #[test]
    fn no_group_that_may_be_needed_is_abandoned(
        listed in prop::collection::vec((0..6_u32, 0..4_u32), 0..30),
        there in prop::collection::vec((any::<bool>(), prop::option::of(0..4_u32)), 6),
    ) {
        let name = |pod: u32| format!("pod-{pod}");
        let listed: Vec<_> = listed.into_iter().map(|(pod, n)| group(&name(pod), n)).collect();
        let state = |group: &Group| {
            let number: usize = group.pod[4..].parse().expect("a number");
            there[number]
        };
        let mut pods = HashSet::new();
        let mut current = HashMap::new();
        for (pod, (is_there, says)) in (0..).zip(&there) {
            if *is_there {
                pods.insert(name(pod));
                if let Some(says) = says {
                    current.insert(name(pod), group(&name(pod), *says).name);
                }
            }
        }
        let abandoned = abandoned(&listed, &pods, &current);
        for group in &listed {
            let wanted = match state(group) {
                (false, _) => true,
                (true, None) => false,
                (true, Some(_)) => current[&group.pod] != group.name,
            };
            prop_assert_eq!(abandoned.contains(&group), wanted, "{:?}", group);
        }
    }
}

#[test]
fn a_round_is_bounded() {
    let listed: Vec<_> = (0..1_000).map(|n| group("gone", n)).collect();
    assert_eq!(abandoned(&listed, &pods(&[]), &current(&[])).len(), MOST_REMOVED);
}
