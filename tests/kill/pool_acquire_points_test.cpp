// pool_acquire_points_test.cpp: killed at the instructions of taking a slot, on every path that
// leads to one.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using lagoon::Outcome;
using lagoon::Ownership;
using lagoon::WaitOrder;
using rig::Actor;
using rig::cold;
using rig::Model;
using rig::Operation;
using rig::Resource;
using rig::Stage;
using rig::sweep_all;
using namespace std::chrono_literals;

namespace {

void try_to_take(Actor& actor) { actor.leases.push_back(actor.desk->pool.try_acquire()); }
void take_waiting(Actor& actor) { actor.leases.push_back(actor.desk->pool.acquire()); }
void take_of_many(Actor& actor) { actor.many.push_back(actor.desk->many.try_acquire()); }

/// Knows the pool and remembers no slot, since all of them are the test's.
void know_many(Actor& actor) { (void)actor.desk->many.try_acquire(); }
void take_all(Stage& stage) { stage.take_all(); }
void take_all_many(Stage& stage) { stage.take_all_many(); }
void give_all_back(Stage& stage) {
    stage.held.clear();
    stage.held_many.clear();
}
void give_one_back(Stage& stage) { stage.give_one_back(); }

}  // namespace

TEST_CASE("kill: at the instructions of try_acquire", "[kill][process]") {
    sweep_all({
        {.name = "try_acquire, own slot again", .run = try_to_take},
        {.name = "try_acquire, recalled slot",
         .prepare =
             [](Actor& a) {
                 auto first = a.desk->pool.acquire();
                 auto second = a.desk->pool.acquire();
                 first.give_back();
                 second.give_back();
             },
         .run = try_to_take,
         .ready =
             [](Stage& s) {
                 // The one on top of the process's memory.
                 s.held.push_back(s.desk->pool.try_acquire());
                 REQUIRE(s.held.back());
             }},
        {.name = "try_acquire, what was freed last",
         .run = try_to_take,
         .set = take_all,
         .ready = give_all_back},
        {.name = "try_acquire by hints in a larger pool",
         .prepare = know_many,
         .run = take_of_many,
         .set = take_all_many,
         .ready =
             [](Stage& s) {
                 give_all_back(s);
                 s.held_many.push_back(s.desk->many.try_acquire());  // what was freed last
             }},
        {.name = "try_acquire, stale hints, nothing idle",
         .prepare = know_many,
         .run = take_of_many,
         .set = take_all_many,
         .ready =
             [](Stage& s) {
                 give_all_back(s);
                 s.take_all_many();  // by memory: the hints stay
             }},
        {.name = "try_acquire, nothing idle", .run = try_to_take, .set = take_all},
        {.name = "try_acquire in a closed pool",
         .run = try_to_take,
         .ready = [](Stage& s) { s.desk->pool.close(); },
         .given =
             [](Model& m) {
                 m.closed = true;
                 m.pool.clear();
             },
         .fresh = true},
        {.name = "try_acquire by the process's shared lane",
         .prepare = rig::share_a_lane,
         .run = try_to_take},
        {.name = "try_acquire, first use by a thread", .prepare = cold, .run = try_to_take},
        {.name = "try_acquire, first use by a second thread",
         .run = try_to_take,
         .traced = rig::Traced::second},
        {.name = "try_acquire and use",
         .run =
             [](Actor& a) {
                 auto lease = a.desk->pool.try_acquire();
                 lease->use();
                 lease->use();
                 lease.give_back();
             }},
        {.name = "try_acquire, own slot again, symmetric",
         .run = try_to_take,
         .ownership = Ownership::symmetric},
    });
}

TEST_CASE("kill: at the instructions of a forked child's first use", "[kill][process]") {
    sweep_all({
        {.name = "try_acquire, attach by use",
         .prepare = cold,
         .run = try_to_take,
         .unattached = true},
    });
}

TEST_CASE("kill: at the instructions of a wait for a resource", "[kill][process]") {
    sweep_all({
        {.name = "acquire after a wait",
         .run = take_waiting,
         .set = take_all,
         .blocked = give_one_back},
        {.name = "acquire after a wait, symmetric",
         .run = take_waiting,
         .set = take_all,
         .blocked = give_one_back,
         .ownership = Ownership::symmetric},
        {.name = "acquire_for until its deadline",
         .run = [](Actor& a) { a.leases.push_back(a.desk->pool.acquire_for(a.patience)); },
         .set = take_all},
        {.name = "acquire, cancelled while it waits",
         .prepare = rig::stop_by_flag,
         .run = [](Actor& a) { a.leases.push_back(a.desk->pool.acquire(a.stop.get_token())); },
         .set =
             [](Stage& s) {
                 rig::lower_flag(s);
                 s.take_all();
             },
         .blocked = rig::raise_flag},
        rig::closed_meanwhile("acquire, closed while it waits", take_waiting),
        {.name = "acquire after a wait in the queue",
         .run = take_waiting,
         .set = take_all,
         .blocked = give_one_back,
         .wait_order = WaitOrder::first_come},
        {.name = "acquire behind another one in the queue",
         .prepare =
             [](Actor& a) {
                 rig::warm(a);
                 // The other one is due to whoever waits for both.
                 a.leases.push_back(a.desk->pool.acquire());
             },
         .run =
             [](Actor& a) {
                 if (a.desk->pool.acquire_for(a.patience)) std::abort();
                 a.leases.clear();
             },
         .waiter = [](Actor& a) { return a.desk->pool.acquire_n(2).size() == 2 ? 0 : 1; },
         .wait_order = WaitOrder::first_come},
        {.name = "acquire_for until its deadline in the queue",
         .run = [](Actor& a) { a.leases.push_back(a.desk->pool.acquire_for(a.patience)); },
         .set = take_all,
         .wait_order = WaitOrder::first_come},
        {.name = "acquire after a wait by the process's shared lane",
         .prepare = rig::share_a_lane,
         .run = take_waiting,
         .ready = take_all,
         .blocked = give_one_back},
    });
}

TEST_CASE("kill: at the instructions of acquire_n", "[kill][process]") {
    const auto take_two = [](Actor& a) { a.leases = a.desk->pool.acquire_n(2); };
    sweep_all({
        {.name = "acquire_n, all idle", .run = take_two},
        {.name = "acquire_n after a wait",
         .run = take_two,
         .set = take_all,
         .blocked = give_one_back},
        {.name = "acquire_n after a wait in the queue",
         .run = take_two,
         .set = take_all,
         .blocked = give_one_back,
         .wait_order = WaitOrder::first_come},
        {.name = "try_acquire_n, too few idle",
         .run = [](Actor& a) { a.leases = a.desk->pool.try_acquire_n(2); },
         .set = [](Stage& s) { s.held.push_back(s.desk->pool.try_acquire()); }},
        {.name = "acquire_n_for until its deadline",
         .run = [](Actor& a) { a.leases = a.desk->pool.acquire_n_for(a.patience, 2); },
         .set = [](Stage& s) { s.held.push_back(s.desk->pool.try_acquire()); }},
    });
}
