// pool_release_points_test.cpp: killed at the instructions of giving a slot back, with and without
// somebody who waits for it.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using lagoon::Ownership;
using lagoon::WaitOrder;
using rig::Actor;
using rig::Model;
using rig::Resource;
using rig::Stage;
using rig::sweep_all;

namespace {

void take(Actor& actor) { actor.leases.push_back(actor.desk->pool.acquire()); }
void take_both(Actor& actor) {
    take(actor);
    take(actor);
}
/// The resource of that number.
void take_number(Actor& actor, rig::Arena<rig::Desk>& desk, lagoon::Pool<Resource> rig::Desk::*pool,
                 std::uint64_t id) {
    std::vector<lagoon::Lease<Resource>> all;
    while (auto lease = ((*desk).*pool).try_acquire()) all.push_back(std::move(lease));
    for (auto& lease : all) {
        if (lease->id == id) actor.leases.push_back(std::move(lease));
    }
}
/// By the memory of the thread, so that the hint of the slot stays.
void take_again(Actor& actor) {
    rig::warm(actor);
    take(actor);
}
void give_back(Actor& actor) { actor.leases.back().give_back(); }
int get(Actor& actor) { return actor.desk->pool.acquire() ? 0 : 1; }

void close_pool(Stage& stage) { stage.desk->pool.close(); }
void closed(Model& model) {
    model.closed = true;
    model.pool.clear();
}

/// Leases that a thread took which is still there, or has ended.
void take_by_thread(Actor& actor, bool ended) {
    const support::Flag taken;
    std::thread thread{[&actor, ended, taken = &taken] {
        take(actor);
        taken->raise();
        while (!ended) ::pause();
    }};
    taken.wait();
    if (ended) {
        thread.join();
    } else {
        thread.detach();
    }
    (void)actor.desk->pool.try_acquire();
}

}  // namespace

TEST_CASE("kill: at the instructions of give_back", "[kill][process]") {
    sweep_all({
        {.name = "give_back", .prepare = take_again, .run = give_back},
        {.name = "give_back, hint gone", .prepare = take, .run = give_back},
        {.name = "give_back, hint gone in a larger pool",
         .prepare = [](Actor& a) { a.many.push_back(a.desk->many.acquire()); },
         .run = [](Actor& a) { a.many.back().give_back(); }},
        {.name = "give_back, the only hint of a larger pool",
         .prepare = [](Actor& a) { a.many.push_back(a.desk->many.acquire()); },
         .run = [](Actor& a) { a.many.back().give_back(); },
         .ready = [](Stage& s) { s.take_all_many(); }},
        {.name = "give_back of a living thread's lease",
         .prepare = [](Actor& a) { take_by_thread(a, false); },
         .run = give_back},
        {.name = "give_back of an ended thread's lease",
         .prepare = [](Actor& a) { take_by_thread(a, true); },
         .run = give_back},
        {.name = "give_back to a closed pool",
         .prepare = take,
         .run = give_back,
         .ready = close_pool,
         .given = closed,
         .fresh = true},
        {.name = "give_back, symmetric",
         .prepare = take_again,
         .run = give_back,
         .ownership = Ownership::symmetric},
        {.name = "give_back, hint gone, symmetric",
         .prepare = take,
         .run = give_back,
         .ownership = Ownership::symmetric},
        {.name = "give_back by a destructor",
         .prepare = take,
         .run = [](Actor& a) { a.leases.clear(); }},
    });
}

TEST_CASE("kill: at the instructions of give_back while somebody waits", "[kill][process]") {
    sweep_all({
        {.name = "give_back while somebody waits",
         .prepare = take_both,
         .run = give_back,
         .waiter = get},
        {.name = "give_back while somebody waits, symmetric",
         .prepare = take_both,
         .run = give_back,
         .waiter = get,
         .ownership = Ownership::symmetric},
        {.name = "give_back while somebody waits for two",
         .prepare = take,
         .run = give_back,
         .waiter = [](Actor& a) { return a.desk->pool.acquire_n(2).size() == 2 ? 0 : 1; }},
        {.name = "give_back while somebody waits in the queue",
         .prepare = take_both,
         .run = give_back,
         .waiter = get,
         .wait_order = WaitOrder::first_come},
        {.name = "give_back while somebody waits for two in the queue",
         .prepare = take,
         .run = give_back,
         .waiter = [](Actor& a) { return a.desk->pool.acquire_n(2).size() == 2 ? 0 : 1; },
         .wait_order = WaitOrder::first_come},
        {.name = "give_back of a living thread's lease while somebody waits",
         .prepare =
             [](Actor& a) {
                 take_by_thread(a, false);
                 take(a);
                 std::swap(a.leases[0], a.leases[1]);
             },
         .run = give_back,
         .waiter = get},
    });
}

TEST_CASE("kill: at the instructions of discard, detach and mark_clean", "[kill][process]") {
    const auto discard = [](Actor& a) { a.leases.back().discard(); };
    const auto take_2 = [](Actor& a) { take_number(a, a.desk, &rig::Desk::pool, 2); };
    const auto take_12 = [](Actor& a) { take_number(a, a.desk, &rig::Desk::served, 12); };
    const auto without_2 = [](Model& m) { m.pool.erase(2); };
    const auto without_12 = [](Model& m) { m.served.erase(12); };
    sweep_all({
        {.name = "discard", .prepare = take_2, .run = discard, .effect = without_2},
        {.name = "discard with a destroy hook",
         .prepare =
             [=](Actor& a) {
                 a.desk.hooks(&rig::Desk::served, rig::hooks());
                 take_12(a);
             },
         .run = discard,
         .effect = without_12},
        {.name = "discard without the hook that others have",
         .prepare =
             [=](Actor& a) {
                 a.desk.hooks(&rig::Desk::served, {});
                 take_12(a);
             },
         .run = discard,
         .effect = without_12},
        {.name = "detach",
         .prepare = take_2,
         .run = [](Actor& a) { (void)a.leases.back().detach(); },
         .effect = without_2},
        {.name = "mark_clean",
         .prepare = take,
         .run =
             [](Actor& a) {
                 a.leases.back().mark_clean();
                 a.leases.back().give_back();
             },
         .set =
             [](Stage& s) {
                 // A borrower dies with each.
                 REQUIRE(support::in_child([&] {
                             const auto desk = rig::Arena<rig::Desk>::open(s.name());
                             const auto one = desk->pool.acquire();
                             const auto two = desk->pool.acquire();
                             ::_exit(one && two ? 0 : 1);
                             return 1;
                         }) == support::exited(0));
                 (void)s.desk.reap();
             }},
    });
}

TEST_CASE("kill: at the instructions of discard while somebody waits for a place",
          "[kill][process]") {
    const auto make_or_get = [](Actor& a) {
        return a.desk->pool.acquire_or_create([] { return Resource{9}; }) ? 0 : 1;
    };
    // The resource is destroyed and another one made, or it comes back from its borrower.
    const auto full = [](Stage& s) {
        for (std::uint64_t id = 3; s.desk->pool.add(Resource{id}); ++id) {
        }
        s.take_all();
        std::erase_if(s.held, [](const auto& lease) { return lease->id < 3; });
    };
    const auto exchanged = [](Model& m) {
        m.pool.erase(2);
        m.pool.insert(9);
    };
    sweep_all({
        {.name = "discard while somebody waits for a place",
         .prepare =
             [](Actor& a) {
                 take_both(a);
                 if (a.leases.back()->id != 2) std::swap(a.leases[0], a.leases[1]);
             },
         .run = [](Actor& a) { a.leases.back().discard(); },
         .set = full,
         .given =
             [](Model& m) {
                 m.pool.insert({3, 4});
             },
         .effect = exchanged,
         .waiter = make_or_get},
    });
}
