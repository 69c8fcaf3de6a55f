// value_points_test.cpp: killed at the instructions of changing values, arrays, counters and locks.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using rig::Actor;
using rig::cold;
using rig::Desk;
using rig::Model;
using rig::Stage;
using rig::sweep_all;
using rig::Text;
using rig::Wide;

namespace {

void narrow_6(Model& model) { model.narrow = 6; }
void wide_9(Model& model) { model.wide = {9, 9, 9, 9, 9}; }
Wide nines(const Wide&) { return {9, 9, 9, 9, 9}; }

lagoon::detail::ValueCore& core_of(const rig::Arena<Desk>& desk) {
    return reinterpret_cast<lagoon::detail::ValueCore&>(desk->wide);
}
/// The test is in the middle of a write of the wide value.
void claim(Stage& stage) {
    auto& core = core_of(stage.desk);
    stage.later = [&core, mine = lagoon::detail::claim_wide(core)] {
        lagoon::detail::abandon_wide(core, mine);
    };
}
void lock(Stage& stage) {
    REQUIRE(stage.desk->lock.lock());
    stage.later = [&stage] { stage.desk->lock.unlock(); };
}
void let_go(Stage& stage) { stage.let_go(); }

void lock_by_actor(Actor& actor) {
    if (!actor.desk->lock.lock()) std::abort();
}
int lock_and_unlock(Actor& actor) {
    if (!actor.desk->lock.lock()) return 1;
    actor.desk->lock.unlock();
    return 0;
}
/// An owner has died, and nobody has vouched for what the lock protects.
void leave_dirty(Stage& stage) {
    REQUIRE(support::in_child([&] {
                const auto desk = rig::Arena<Desk>::open(stage.name());
                ::_exit(desk->lock.try_lock() ? 0 : 1);
                return 1;
            }) == support::exited(0));
    (void)stage.desk.reap();
    REQUIRE(stage.desk->lock.owner_died());
}

}  // namespace

TEST_CASE("kill: at the instructions of a value of up to eight bytes", "[kill][process]") {
    const auto wait_for_6 = [](Actor& a) {
        return a.desk->narrow.wait([](int v) { return v == 6; }) == lagoon::Outcome::ok ? 0 : 1;
    };
    sweep_all({
        {.name = "Value store",
         .run = [](Actor& a) { a.desk->narrow.store(6); },
         .effect = narrow_6},
        {.name = "Value exchange",
         .run = [](Actor& a) { a.desk->narrow.exchange(6); },
         .effect = narrow_6},
        {.name = "Value update",
         .run = [](Actor& a) { a.desk->narrow.update([](int v) { return v + 1; }); },
         .effect = narrow_6},
        {.name = "Value compare_exchange",
         .run =
             [](Actor& a) {
                 int expected = 5;
                 a.desk->narrow.compare_exchange(expected, 6);
             },
         .effect = narrow_6},
        {.name = "Value fetch_add",
         .run = [](Actor& a) { a.desk->narrow.fetch_add(1); },
         .effect = narrow_6},
        {.name = "Value checked_add",
         .run = [](Actor& a) { a.desk->narrow.checked_add(1); },
         .effect = narrow_6},
        {.name = "Value store while somebody waits",
         .run = [](Actor& a) { a.desk->narrow.store(6); },
         .effect = narrow_6,
         .waiter = wait_for_6,
         .help = [](Stage& s) { s.desk->narrow.store(6); }},
        {.name = "Value wait",
         .run = [=](Actor& a) { (void)wait_for_6(a); },
         .blocked = [](Stage& s) { s.desk->narrow.store(6); },
         .effect = narrow_6},
    });
}

TEST_CASE("kill: at the instructions of a wide value", "[kill][process]") {
    sweep_all({
        {.name = "wide Value store",
         .run =
             [](Actor& a) {
                 a.desk->wide.store({9, 9, 9, 9, 9});
             },
         .effect = wide_9},
        {.name = "wide Value store, first use by a thread",
         .prepare = cold,
         .run =
             [](Actor& a) {
                 a.desk->wide.store({9, 9, 9, 9, 9});
             },
         .effect = wide_9},
        {.name = "wide Value update",
         .run = [](Actor& a) { a.desk->wide.update(nines); },
         .effect = wide_9},
        {.name = "wide Value exchange",
         .run =
             [](Actor& a) {
                 a.desk->wide.exchange({9, 9, 9, 9, 9});
             },
         .effect = wide_9},
        {.name = "wide Value compare_exchange",
         .run =
             [](Actor& a) {
                 Wide expected{1, 1, 1, 1, 1};
                 a.desk->wide.compare_exchange(expected, {9, 9, 9, 9, 9});
             },
         .effect = wide_9},
        {.name = "wide Value update that throws",
         .run =
             [](Actor& a) {
                 try {
                     a.desk->wide.update([](const Wide&) -> Wide { throw 1; });
                 } catch (int) {
                 }
             }},
        {.name = "wide Value store, after a living writer",
         .run =
             [](Actor& a) {
                 a.desk->wide.store({9, 9, 9, 9, 9});
             },
         .set = claim,
         .blocked = let_go,
         .effect = wide_9},
        {.name = "wide Value store while somebody waits for it",
         .run =
             [](Actor& a) {
                 a.desk->wide.store({9, 9, 9, 9, 9});
             },
         .effect = wide_9,
         .waiter =
             [](Actor& a) {
                 const auto holds = [](const Wide& wide) { return wide[0] == 9; };
                 return a.desk->wide.wait(holds) == lagoon::Outcome::ok ? 0 : 1;
             },
         .help =
             [](Stage& s) {
                 s.desk->wide.store({9, 9, 9, 9, 9});
             }},
        {.name = "wide Value's claim given back while somebody waits to write",
         .prepare = [](Actor& a) { a.claim = lagoon::detail::claim_wide(core_of(a.desk)); },
         .run = [](Actor& a) { lagoon::detail::abandon_wide(core_of(a.desk), a.claim); },
         .effect = wide_9,
         .waiter =
             [](Actor& a) {
                 a.desk->wide.store({9, 9, 9, 9, 9});
                 return 0;
             }},
        {.name = "text store",
         .run = [](Actor& a) { a.desk->text.store(Text{"as it will be"}); },
         .effect = [](Model& m) { m.text = "as it will be"; }},
    });
}

TEST_CASE("kill: at the instructions of arrays and counters", "[kill][process]") {
    const auto second_8 = [](Model& m) { m.numbers[1] = 8; };
    const auto more = [](Model& m) { m.total += 5; };
    const auto event = [](Model& m) { m.events += 3; };
    sweep_all({
        {.name = "Array store",
         .run = [](Actor& a) { a.desk->numbers[1].store(8); },
         .effect = second_8},
        {.name = "Array exchange",
         .run = [](Actor& a) { a.desk->numbers[1].exchange(8); },
         .effect = second_8},
        {.name = "Array add",
         .run = [](Actor& a) { a.desk->numbers[1].add(1); },
         .effect = second_8},
        {.name = "Array compare_exchange",
         .run =
             [](Actor& a) {
                 int expected = 7;
                 a.desk->numbers[1].compare_exchange(expected, 8);
             },
         .effect = second_8},
        {.name = "Array update",
         .run = [](Actor& a) { a.desk->numbers.at(1).update([](int v) { return v + 1; }); },
         .effect = second_8},
        {.name = "Array fill",
         .run = [](Actor& a) { a.desk->numbers.fill(8); },
         .effect =
             [](Model& m) {
                 m.numbers = {8, 8, 8};
             }},
        {.name = "Array span under a lock",
         .run =
             [](Actor& a) {
                 const std::lock_guard guard{a.desk->lock};
                 for (int& number : a.desk->numbers.span()) number = 8;
             },
         .effect =
             [](Model& m) {
                 m.numbers = {8, 8, 8};
             }},
        {.name = "Counter add", .run = [](Actor& a) { a.desk->total.add(5); }, .effect = more},
        {.name = "Counter publish",
         .run = [](Actor& a) { a.desk->total.publish(5); },
         .effect = more},
        {.name = "Counter exchange",
         .run = [](Actor& a) { a.desk->total.exchange(105); },
         .effect = more},
        {.name = "Counter compare_exchange",
         .run =
             [](Actor& a) {
                 std::int64_t expected = 100;
                 a.desk->total.compare_exchange(expected, 105);
             },
         .effect = more},
        {.name = "ShardedCounter add",
         .run = [](Actor& a) { a.desk->events.add(3); },
         .effect = event},
        {.name = "ShardedCounter add, first use by a thread",
         .prepare = cold,
         .run = [](Actor& a) { a.desk->events.add(3); },
         .effect = event},
    });
}

TEST_CASE("kill: at the instructions of a lock", "[kill][process]") {
    sweep_all({
        {.name = "try_lock", .run = [](Actor& a) { (void)a.desk->lock.try_lock(); }},
        {.name = "lock", .run = [](Actor& a) { a.desk->lock.lock(); }},
        {.name = "lock and unlock", .run = [](Actor& a) { lock_and_unlock(a); }},
        {.name = "unlock",
         .prepare = lock_by_actor,
         .run = [](Actor& a) { a.desk->lock.unlock(); }},
        {.name = "lock after a wait", .run = lock_by_actor, .set = lock, .blocked = let_go},
        {.name = "try_lock_for until its deadline",
         .run = [](Actor& a) { (void)a.desk->lock.try_lock_for(a.patience); },
         .set = lock},
        {.name = "try_lock, held by another one",
         .run = [](Actor& a) { (void)a.desk->lock.try_lock(); },
         .set = lock},
        {.name = "unlock while somebody waits",
         .prepare = lock_by_actor,
         .run = [](Actor& a) { a.desk->lock.unlock(); },
         .waiter = lock_and_unlock},
        {.name = "mark_clean and unlock after an owner's death",
         .run =
             [](Actor& a) {
                 lock_by_actor(a);
                 a.desk->lock.mark_clean();
                 a.desk->lock.unlock();
             },
         .set = leave_dirty,
         .check =
             [](Stage& s, bool over) {
                 if (over) REQUIRE_FALSE(s.desk->lock.owner_died());
             }},
    });
}
