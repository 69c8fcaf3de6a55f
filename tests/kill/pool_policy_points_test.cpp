// pool_policy_points_test.cpp: killed at the instructions of borrowing where a pool has another
// policy for what its dead borrowers held, where it turns waiters away, and where it is shut down.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using lagoon::Lease;
using rig::Actor;
using rig::Desk;
using rig::hooks;
using rig::Model;
using rig::Operation;
using rig::Resource;
using rig::SlotState;
using rig::Stage;
using rig::sweep_all;

namespace {

using Pool = lagoon::Pool<Resource> Desk::*;

Operation borrow(const char* name, Pool pool) {
    return {.name = name, .run = [pool](Actor& a) {
                auto lease = ((*a.desk).*pool).acquire();
                lease->use();
                lease.give_back();
            }};
}
/// A process dies with both resources.
void die_with_both(Stage& stage, Pool pool) {
    REQUIRE(support::in_child([&] {
                const auto desk = rig::Arena<Desk>::open(stage.name());
                const auto one = ((*desk).*pool).acquire();
                const auto two = ((*desk).*pool).acquire();
                ::_exit(one && two ? 0 : 1);
                return 1;
            }) == support::exited(0));
    (void)stage.desk.reap();
}
/// The test has both resources of `twice` until the end.
void hold_twice(Stage& stage) {
    auto both = std::make_shared<std::vector<Lease<Resource>>>(stage.desk->twice.acquire_n(2));
    REQUIRE(both->size() == 2);
    stage.later = [both] { both->clear(); };
}
/// A thread of the process waits for one of `twice`.
void wait_in_thread(Actor& actor) {
    rig::warm(actor);
    actor.threads.emplace_back([&actor] { (void)actor.desk->twice.acquire(); });
    support::wait_until([&] { return actor.desk->twice.stats().waiting == 1; });
}
void everything_gone(Model& model) {
    model.closed = true;
    for (auto* ids : {&model.pool, &model.served, &model.reset, &model.ended, &model.apart,
                      &model.twice, &model.aged}) {
        ids->clear();
    }
    model.many = 0;
}
void take_all(Stage& stage) { stage.take_all(); }

}  // namespace

TEST_CASE("kill: at the instructions of borrowing what is destroyed or put apart by a death",
          "[kill][process]") {
    Operation again = borrow("acquire to give_back, the second death puts apart", &Desk::twice);
    again.set = [](Stage& s) { die_with_both(s, &Desk::twice); };
    Operation with_hook =
        borrow("acquire to give_back, destroyed by a death, with the hook", &Desk::ended);
    with_hook.prepare = [](Actor& a) {
        rig::warm(a);
        a.desk.hooks(&Desk::ended, hooks());
    };
    sweep_all({
        borrow("acquire to give_back, destroyed by a death", &Desk::ended),
        with_hook,
        borrow("acquire to give_back, put apart by a death", &Desk::apart),
        borrow("acquire to give_back, lent on after a death", &Desk::twice),
        again,
        {.name = "clear of what was put apart",
         .run = [](Actor& a) { a.desk->apart.clear(); },
         .set = [](Stage& s) { die_with_both(s, &Desk::apart); },
         .given = [](Model& m) { m.apart.clear(); },
         .check =
             [](Stage& s, bool over) {
                 for (std::uint64_t i = 0; i < 2; ++i) {
                     const auto state = support::state_of(s.desk->apart, i);
                     REQUIRE(
                         (state == SlotState::empty || (!over && state == SlotState::quarantined)));
                 }
             }},
        {.name = "try_acquire_or_create where all was put apart",
         .run =
             [](Actor& a) {
                 a.leases.push_back(
                     a.desk->apart.try_acquire_or_create([] { return Resource{9}; }));
             },
         .set = [](Stage& s) { die_with_both(s, &Desk::apart); },
         .given = [](Model& m) { m.apart.clear(); }},
    });
}

TEST_CASE("kill: at the instructions of being turned away, and of trying to create",
          "[kill][process]") {
    const auto try_to_make = [](Actor& a) {
        a.leases.push_back(a.desk->pool.try_acquire_or_create([] { return Resource{9}; }));
    };
    const auto at_capacity = [](Stage& s) {
        for (std::uint64_t id = 3; s.desk->pool.add(Resource{id}); ++id) {
        }
        s.take_all();
    };
    const auto with_3_and_4 = [](Model& m) { m.pool.insert({3, 4}); };
    sweep_all({
        {.name = "acquire, turned away from where another one waits",
         .prepare = wait_in_thread,
         .run = [](Actor& a) { (void)a.desk->twice.acquire(); },
         .set = hold_twice},
        {.name = "try_acquire_or_create, a slot that was emptied",
         .run = try_to_make,
         .set = take_all,
         .effect = [](Model& m) { m.pool.insert(9); }},
        {.name = "try_acquire_or_create at capacity",
         .run = try_to_make,
         .set = at_capacity,
         .given = with_3_and_4},
        {.name = "acquire_or_create_for until its deadline",
         .run =
             [](Actor& a) {
                 (void)a.desk->pool.acquire_or_create_for(a.patience, [] { return Resource{9}; });
             },
         .set = at_capacity,
         .given = with_3_and_4},
        {.name = "add at capacity",
         .run = [](Actor& a) { (void)a.desk->pool.add(Resource{9}); },
         .set = at_capacity,
         .given = with_3_and_4},
    });
}

TEST_CASE("kill: at the instructions of on_create", "[kill][process]") {
    const auto with_on_create = [](bool good) {
        return [good](Actor& a) {
            auto all = hooks();
            all.on_create = [good](Resource& resource) {
                resource.use();
                if (!good) throw 1;
            };
            a.desk.hooks(&Desk::served, all);
            rig::warm(a);
        };
    };
    const auto empty = [](Stage& s) { s.desk->served.clear(); };
    const auto emptied = [](Model& m) { m.served.clear(); };
    const auto with_9 = [](Model& m) { m.served.insert(9); };
    const auto make = [](Actor& a) {
        try {
            a.leases.push_back(a.desk->served.acquire_or_create([] { return Resource{9}; }));
        } catch (int) {
        }
    };
    sweep_all({
        {.name = "acquire_or_create with on_create",
         .prepare = with_on_create(true),
         .run = make,
         .set = empty,
         .given = emptied,
         .effect = with_9},
        {.name = "acquire_or_create whose on_create throws",
         .prepare = with_on_create(false),
         .run = make,
         .set = empty,
         .given = emptied},
        {.name = "add with on_create",
         .prepare = with_on_create(true),
         .run = [](Actor& a) { (void)a.desk->served.add(Resource{9}); },
         .set = empty,
         .given = emptied,
         .effect = with_9},
    });
}

TEST_CASE("kill: at the instructions of acquire_n that ends otherwise", "[kill][process]") {
    const auto take_two = [](Actor& a) {
        a.leases = a.desk->pool.acquire_n(2, a.stop.get_token());
    };
    sweep_all({
        {.name = "try_acquire_n, all idle",
         .run = [](Actor& a) { a.leases = a.desk->pool.try_acquire_n(2); }},
        {.name = "acquire_n, cancelled while it waits",
         .prepare = rig::stop_by_flag,
         .run = take_two,
         .set =
             [](Stage& s) {
                 rig::lower_flag(s);
                 s.held.push_back(s.desk->pool.try_acquire());
             },
         .blocked = rig::raise_flag},
        rig::closed_meanwhile("acquire_n, closed while it waits", take_two),
    });
}

TEST_CASE("kill: at the instructions of detach while somebody waits for a place",
          "[kill][process]") {
    sweep_all({
        {.name = "detach while somebody waits for a place",
         .prepare =
             [](Actor& a) {
                 a.leases = a.desk->pool.acquire_n(2);
                 if (a.leases.back()->id != 2) std::swap(a.leases[0], a.leases[1]);
             },
         .run = [](Actor& a) { (void)a.leases.back().detach(); },
         .set =
             [](Stage& s) {
                 for (std::uint64_t id = 3; s.desk->pool.add(Resource{id}); ++id) {
                 }
                 s.take_all();
                 std::erase_if(s.held, [](const auto& lease) { return lease->id < 3; });
             },
         .given =
             [](Model& m) {
                 m.pool.insert({3, 4});
             },
         .effect =
             [](Model& m) {
                 m.pool.erase(2);
                 m.pool.insert(9);
             },
         .waiter =
             [](Actor& a) {
                 return a.desk->pool.acquire_or_create([] { return Resource{9}; }) ? 0 : 1;
             }},
    });
}

TEST_CASE("kill: at the instructions of closing what is lent, and of shutting down",
          "[kill][process]") {
    const auto hold_one = [](Stage& s) { s.held.push_back(s.desk->pool.try_acquire()); };
    const auto closed = [](Model& m) {
        m.closed = true;
        m.pool.clear();
    };
    sweep_all({
        {.name = "close while all is lent",
         .run = [](Actor& a) { a.desk->pool.close(); },
         .set = take_all,
         .effect = closed,
         .fresh = true},
        {.name = "drain, which waits for a return",
         .run = [](Actor& a) { (void)a.desk->pool.drain(); },
         .set = hold_one,
         .blocked = [](Stage& s) { s.give_one_back(); },
         .effect = closed,
         .fresh = true},
        {.name = "drain_for until its deadline",
         .run = [](Actor& a) { (void)a.desk->pool.drain_for(a.patience); },
         .set = take_all,
         .effect = closed,
         .fresh = true},
        {.name = "close with a destroy hook",
         .prepare = [](Actor& a) { a.desk.hooks(&Desk::served, hooks()); },
         .run = [](Actor& a) { a.desk->served.close(); },
         .effect = [](Model& m) { m.served.clear(); },
         .fresh = true},
        {.name = "shut_down beside another member",
         .run = [](Actor& a) { (void)a.desk.shut_down(); },
         .effect = everything_gone,
         .fresh = true},
        {.name = "shut_down with drain, which waits for a return",
         .run = [](Actor& a) { (void)a.desk.shut_down(lagoon::ShutDown::drain); },
         .set = hold_one,
         .blocked = [](Stage& s) { s.give_one_back(); },
         .effect = everything_gone,
         .fresh = true},
        {.name = "shut_down_for until its deadline",
         .run = [](Actor& a) { (void)a.desk.shut_down_for(a.patience); },
         .set = hold_one,
         .effect = everything_gone,
         .fresh = true},
    });
}
