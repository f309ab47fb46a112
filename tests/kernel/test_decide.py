import numpy as np
import pytest

from tests.kernel.scene import NAN, S, Voice, see
from vpp.kernel.envelope import OWNERS
from vpp.kernel.fleet import simple_fleet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.groups import Groups
from vpp.kernel.ports import Safe
from vpp.kernel.seen import Event, News, Observation
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import Chain, DecisionHash, decide, tick

FLEET = simple_fleet([-1.0, -1.0], [1.0, 1.0], groups=Groups.from_names({"pcc": None}, ["pcc", "pcc"]))


def wants(*p):
    return lambda allowed: allowed.propose_p(np.array(p))


def caps(*p):
    return lambda allowed: allowed.cap_p(np.array(p))


def then_fails(does):
    def act(allowed):
        does(allowed)
        raise RuntimeError("broken")

    return act


def chain(proposers=(), guards=(), **more) -> Chain:
    named = [Voice(f"p{i}", does) if callable(does) else does for i, does in enumerate(proposers)]
    return Chain(FLEET, named, [Voice(f"g{i}", g) if callable(g) else g for i, g in enumerate(guards)], 60 * S, **more)


def p_of(decision):
    return decision.asked.setpoints.p_mw.tolist()


def who(chain, decision):
    return [chain.owners[k] for k in decision.asked.cause_p]


def test_later_proposers_replace_and_guards_narrow_and_the_cause_is_who_binds():
    c = chain([wants(0.5, 0.5), wants(NAN, 0.9)], [caps(0.7, 0.7), caps(0.8, 0.6)])
    d = decide(0, see(FLEET), c)
    assert p_of(d) == [0.5, 0.6]
    assert who(c, d) == ["p0", "g1"]
    assert c.owners == (*OWNERS, "p0", "p1", "g0", "g1")
    assert d.events == ()


def test_a_failing_proposers_wants_are_undone():
    def partly(allowed):
        allowed.propose_p(np.array([0.9, NAN]))
        allowed.propose_q(np.array([0.9, NAN]))

    c = chain([wants(0.5, 0.5), then_fails(partly)])
    d = decide(7, see(FLEET), c)
    assert p_of(d) == [0.5, 0.5]
    assert who(c, d) == ["p0", "p0"]
    assert not d.asked.setpoints.q_mode.any()
    (event,) = d.events
    assert (event.kind, event.source, event.time_ns) == ("alarm", "p1", 7)
    assert event.text == "p1 failed (RuntimeError: broken); safe action: withdraw"


def test_a_failing_guards_narrowings_are_kept():
    c = chain([wants(0.5, 0.5)], [then_fails(caps(0.3, NAN)), caps(NAN, 0.4)])
    d = decide(0, see(FLEET), c)
    assert p_of(d) == [0.3, 0.4]
    assert [e.kind for e in d.events] == ["alarm"]


def test_a_guard_that_proposes_has_failed():
    d = decide(0, see(FLEET), chain([wants(0.5, 0.5)], [wants(0.9, 0.9)]))
    assert p_of(d) == [0.5, 0.5]
    assert "PermissionError" in d.events[0].text


@pytest.mark.parametrize(
    ("safe", "want", "expected"),
    [
        (Safe.WITHDRAW, (0.9, -0.9), [0.9, -0.9]), (Safe.HOLD, (0.9, -0.9), [0.2, -0.3]), (Safe.HOLD, (0.1, 0.9), [0.1, 0.0]),
        (Safe.STOP, (0.9, -0.9), [0.0, 0.0]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("off", [False, True])
def test_each_safe_action(safe, want, expected, off):
    guard = Voice("guard", then_fails(caps(NAN, NAN)), safe)
    news = News(off={"guard": "by hand"} if off else {})
    d = decide(0, see(FLEET, last_p=[0.2, -0.3], news=news), chain([wants(*want)], [guard]))
    assert p_of(d) == expected
    assert len(d.events) == (0 if off else 1)
    assert guard.count[0] == (0 if off else 1)


def test_an_overrun_switches_off_from_the_next_tick_only():
    times = iter([0, 5, 10, 400, 500, 501])
    c = chain([wants(0.5, 0.5), wants(0.9, 0.9)], budget_ns=100)
    first = decide(0, see(FLEET), c, clock=lambda: next(times))
    assert p_of(first) == [0.9, 0.9]
    assert [(e.kind, e.source) for e in first.events] == [("overrun", "p1")]
    second = decide(60, see(FLEET), c, clock=lambda: next(times))
    assert p_of(second) == [0.5, 0.5]
    assert second.events == ()
    del c.off["p1"]
    assert p_of(decide(120, see(FLEET), c)) == [0.9, 0.9]


def test_without_a_clock_nobody_is_switched_off():
    c = chain([wants(0.5, 0.5)], budget_ns=0)
    for k in range(3):
        assert decide(k, see(FLEET), c).events == ()
    assert c.off == {}


def test_a_shortfall_names_group_owner_and_size():
    c = chain([], [lambda a: a.floor_p(np.array([0.5, 0.5])), lambda a: a.limit_group(0, hi_mw=0.6)])
    d = decide(0, see(FLEET), c)
    assert p_of(d) == [0.5, 0.5]
    (event,) = d.events
    assert (event.kind, event.source, event.subject) == ("shortfall", "g1", "pcc")
    assert event.value == pytest.approx(0.4)
    assert "above its upper limit" in event.text
    c = chain([], [lambda a: a.cap_p(np.array([-0.5, -0.5])), lambda a: a.limit_group(0, lo_mw=-0.6)])
    assert decide(0, see(FLEET), c).events[0].value == pytest.approx(-0.4)


def test_events_of_news_and_controllers_are_passed_on_in_order():
    said, late = Event(0, "p0", "x", "y"), Event(0, "planner", "late", "no plan yet")
    d = decide(0, see(FLEET, news=News(events=(late,))), chain([lambda allowed: [said]]))
    assert d.events == (late, said)


def test_a_chain_remembers_and_restores_every_controller():
    c = chain([wants(0, 0)], [caps(1, 1)])
    decide(0, see(FLEET), c)
    state = c.state()
    decide(1, see(FLEET), c)
    assert c.state()["p0"]["count"][0] == 2
    c.restore(state)
    assert [s["count"][0] for s in c.state().values()] == [1, 1]
    with pytest.raises(ValueError, match="share a name"):
        Chain(FLEET, [Voice("a", None)], [Voice("a", None)], 60 * S)


class Plant:
    """A plant that does at once what it is asked."""

    fleet = FLEET

    def __init__(self):
        self.asked = Asked.nothing(2)

    def read(self, now_ns):
        seen = see(FLEET, now_ns=now_ns, p_mw=self.asked.setpoints.p_mw)
        return Observation(seen.telemetry, GridPoints(), self.asked.setpoints)

    def write(self, now_ns, asked):
        self.asked = asked


class Inbox:
    def __init__(self):
        self.noted = []

    def take(self, now_ns):
        return News(off={"p9": "by hand"})

    def note(self, now_ns, seen):
        self.noted.append(now_ns)


def test_a_tick_reads_decides_and_writes_and_the_record_replays():
    plant, inbox, last, times = Plant(), Inbox(), Asked.nothing(2), iter([0, 500, 500, 501, *range(4)])
    c = chain([wants(0.5, 0.25)], [caps(0.3, 1)], budget_ns=100)
    records = []
    for k in range(3):
        records.append(tick(k * 60 * S, plant, inbox, c, last, lambda: next(times)))
        last = records[-1].decision.asked
    assert [r.decision.asked.setpoints.p_mw.tolist() for r in records] == [[0.3, 0.25], [0.0, 0.0], [0.0, 0.0]]
    assert records[1].seen.news.off == {"p9": "by hand", "p0": "took 0.0 ms of 0.0 ms"}
    assert records[1].seen.last is records[0].decision.asked
    assert np.array_equal(records[1].seen.telemetry.p_mw, [0.3, 0.25])
    again = chain([wants(0.5, 0.25)], [caps(0.3, 1)])
    for r in records:
        replayed = decide(r.time_ns, r.seen, again)
        assert replayed.asked.setpoints.block.tobytes() == r.decision.asked.setpoints.block.tobytes()


def history():
    first = Asked.nothing(3)
    first.setpoints.p_limit_mw = 1.0
    second = Asked(1, first.setpoints.copy(), first.cause_p, first.cause_q)
    third = Asked(2, first.setpoints.copy(), first.cause_p, first.cause_q)
    third.setpoints.p_mw = [0.1, 0.2, 0.3]
    return [first, second, third]


def digest(ticks):
    h = DecisionHash(3)
    for asked in ticks:
        h.add(asked)
    return h.hexdigest()


def test_equal_histories_have_equal_hashes():
    assert digest(history()) == digest(history())


def test_changing_any_value_at_any_tick_changes_the_hash():
    plain = digest(history())
    seen = {plain}
    for k in range(3):
        rows, columns = history()[k].setpoints.block.shape
        for row in range(rows):
            for column in range(columns):
                ticks = history()
                ticks[k].setpoints.block[row, column] += 1e-9
                seen.add(digest(ticks))
    assert len(seen) == 1 + 3 * 30


def test_order_length_and_repetition_count():
    a, b, c = history()
    assert len({digest(x) for x in ([a, b, c], [a, c, b], [c, a, b], [a, b], [a, c], [a], [a, b, b, c], [])}) == 8
