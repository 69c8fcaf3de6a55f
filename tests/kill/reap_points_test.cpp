// reap_points_test.cpp: a repairer killed at the instructions of the repair; threads that end, and
// processes that leave.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/holder.hpp"

using rig::Actor;
using rig::Desk;
using rig::hooks;
using rig::Model;
using rig::Resource;
using rig::Stage;
using rig::sweep_all;
using namespace std::chrono_literals;

TEST_CASE("kill: at the instructions of a repair", "[kill][process]") {
    const auto reap = [](Actor& a) { (void)a.desk.reap(); };
    sweep_all({
        {.name = "reap, nobody is dead", .run = reap},
        {.name = "reap of a process that held something of every kind",
         .run = reap,
         .set = rig::hold_everything,
         .ready = rig::holder_dies,
         .effect = rig::one_less},
        {.name = "reap by a process that has no hooks",
         .prepare =
             [](Actor& a) {
                 a.desk.hooks(&Desk::served, {});
                 a.desk.hooks(&Desk::reset, {});
             },
         .run = reap,
         .set = rig::hold_everything,
         .ready = rig::holder_dies,
         .effect = rig::one_less},
    });
}

TEST_CASE("kill: at the instructions of an eviction", "[kill][process]") {
    std::uint32_t victim = 0;  // the process that is killed is forked once it is known
    const auto evict = [&](Actor& a) { (void)a.desk.evict(victim); };
    const auto hold = [&](Stage& stage) {
        rig::hold_until_killed(stage);
        victim = std::static_pointer_cast<rig::Holder>(stage.other)->pid();
    };
    sweep_all({
        {.name = "evict of a process that holds something of every kind",
         .run = evict,
         .set = hold,
         .given = rig::one_less,
         .help = rig::holder_is_dead},
    });
}

TEST_CASE("kill: at the instructions of a thread's life and end", "[kill][process]") {
    sweep_all({
        {.name = "a thread takes a lease and the lock, and ends",
         .run =
             [](Actor& a) {
                 a.leases.push_back(a.desk->pool.acquire());
                 if (!a.desk->lock.try_lock()) std::abort();
             },
         .traced = rig::Traced::second},
        {.name = "a thread counts and ends",
         .run = [](Actor& a) { a.desk->events.add(3); },
         .effect = [](Model& m) { m.events += 3; },
         .traced = rig::Traced::second},
    });
}

TEST_CASE("kill: at the instructions of leaving beside others", "[kill][process]") {
    sweep_all({
        {.name = "close of the last handle, others stay",
         .prepare =
             [](Actor& a) {
                 rig::warm(a);
                 *a.inherited = {};
             },
         .run = [](Actor& a) { a.desk.close(); }},
        {.name = "the last handle goes with a lease out",
         .prepare =
             [](Actor& a) {
                 a.leases.push_back(a.desk->pool.acquire());
                 *a.inherited = {};
             },
         .run = [](Actor& a) { a.desk = {}; }},
    });
}
