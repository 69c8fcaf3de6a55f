// pool_fill_points_test.cpp: killed at the instructions of filling slots, emptying them, closing a
// pool, and running hooks.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <runtime/pool_body.hpp>
#include <runtime/pool_creation.hpp>
#include <runtime/reap.hpp>

#include "kill/stage.hpp"
#include "kill/threads.hpp"

using rig::Actor;
using rig::Desk;
using rig::hooks;
using rig::Model;
using rig::Resource;
using rig::Stage;
using rig::sweep_all;
using namespace std::chrono_literals;

namespace {

void make_nine(Actor& actor) {
    actor.leases.push_back(actor.desk->pool.acquire_or_create([] { return Resource{9}; }));
}
/// The process has a factory, which runs in the thread that waits.
void with_factory(Actor& actor, lagoon::Factory<Resource> factory) {
    rig::warm(actor);
    actor.desk.hooks(&Desk::pool, {.factory = std::move(factory)});
    rig::threads_are_refused = true;
}
void take_all(Stage& stage) { stage.take_all(); }
/// At capacity, and all of it the test's.
void take_all_there_can_be(Stage& stage) {
    for (std::uint64_t id = 3; stage.desk->pool.add(Resource{id}); ++id) {
    }
    stage.take_all();
}
/// Whoever wants to make one waits for the test, which has both turns and seems to be at work.
void take_all_turns(Stage& stage) {
    stage.take_all();
    auto& pool = support::object_of(stage.desk->pool);
    auto& body = support::body_of(stage.desk->pool);
    std::vector<lagoon::detail::Taken> places;
    for (int i = 0; i < 2; ++i) {
        places.push_back(lagoon::detail::take_empty(body, lagoon::detail::cache_of(pool).lane,
                                                    lagoon::detail::Effort::slots));
        REQUIRE(lagoon::detail::take_turn(body, places.back()) == lagoon::detail::Turn::mine);
    }
    stage.later = [&pool, places] {
        for (const auto& place : places) {
            lagoon::detail::make_empty(pool, place.index, place.word);
        }
    };
}
/// Whatever is made is made too late.
void leave_no_time(Stage& stage) {
    stage.take_all();
    support::body_of(stage.desk->pool).creation.create_limit_ns = 1;
}
/// Making one has failed, and it is time to try again.
void let_one_try_again(Stage& stage) {
    stage.take_all();
    auto& making = support::body_of(stage.desk->pool).making;
    // Y7 relaxed store, no pair: nobody else is there yet.
    making.failures.store(1, std::memory_order_relaxed);
    // Y7 relaxed store, no pair: as above.
    making.retry_ns.store(1, std::memory_order_relaxed);
}
void with_nine(Model& model) { model.pool.insert(9); }
void closed(Model& model) {
    model.closed = true;
    model.pool.clear();
}

/// Somebody has died with both resources of each pool with hooks, and nobody has seen to them:
/// they are dirty. The second ones are in pieces, or all are whole.
void leave_dirty(Stage& stage, bool whole) {
    REQUIRE(support::in_child([&] {
                const auto desk = rig::Arena<Desk>::open(stage.name());
                std::vector<rig::Lease<Resource>> leases;
                for (auto* pool : {&desk->served, &desk->reset}) {
                    while (auto lease = pool->try_acquire()) {
                        if (!whole && lease->id % 10 == 2) ++lease->uses;
                        leases.push_back(std::move(lease));
                    }
                }
                ::_exit(leases.size() == 4 ? 0 : 1);
                return 1;
            }) == support::exited(0));
    (void)lagoon::detail::repair_the_dead(stage.desk.attached());
    REQUIRE(stage.desk->served.stats().dirty == 2);
    REQUIRE(stage.desk->reset.stats().dirty == 2);
}
void leave_whole(Stage& stage) { leave_dirty(stage, true); }
void leave_in_pieces(Stage& stage) { leave_dirty(stage, false); }
void without_12(Model& model) { model.served.erase(12); }

}  // namespace

TEST_CASE("kill: at the instructions of having one made by the process's factory",
          "[kill][process]") {
    sweep_all({
        {.name = "acquire that has one made",
         .prepare = [](Actor& a) { with_factory(a, [] { return Resource{9}; }); },
         .run = [](Actor& a) { a.leases.push_back(a.desk->pool.acquire()); },
         .set = take_all,
         .effect = with_nine},
        {.name = "acquire whose factory throws",
         .prepare =
             [](Actor& a) {
                 with_factory(a, []() -> Resource { throw std::runtime_error{"no"}; });
             },
         .run =
             [](Actor& a) {
                 try {
                     auto none = a.desk->pool.acquire();
                 } catch (const std::runtime_error&) {
                 }
             },
         .set = take_all},
    });
}

TEST_CASE("kill: at the instructions of acquire_or_create", "[kill][process]") {
    sweep_all({
        {.name = "acquire_or_create, one is idle", .run = make_nine},
        {.name = "acquire_or_create, a slot that was emptied",
         .run = make_nine,
         .set = take_all,
         .effect = with_nine},
        {.name = "acquire_or_create, a slot never filled",
         .run = make_nine,
         .set = take_all,
         .effect = with_nine,
         .fresh = true},
        {.name = "acquire_or_create in place",
         .run =
             [](Actor& a) {
                 a.leases.push_back(a.desk->pool.acquire_or_create([](Resource& r, lagoon::Slot) {
                     r.id = 9;
                     r.use();
                 }));
             },
         .set = take_all,
         .effect = with_nine},
        {.name = "acquire_or_create whose factory throws",
         .run =
             [](Actor& a) {
                 try {
                     auto none = a.desk->pool.acquire_or_create(
                         []() -> Resource { throw std::runtime_error{"no"}; });
                 } catch (const std::runtime_error&) {
                 }
             },
         .set = take_all},
        {.name = "acquire_or_create that takes too long",
         .run = make_nine,
         .set = leave_no_time,
         .fresh = true},
        {.name = "acquire_or_create that takes too long, of what has a destroy hook",
         .prepare = [](Actor& a) { a.desk.hooks(&Desk::served, hooks()); },
         .run =
             [](Actor& a) {
                 a.leases.push_back(a.desk->served.acquire_or_create([] { return Resource{19}; }));
             },
         .set =
             [](Stage& s) {
                 s.desk->served.clear();
                 support::body_of(s.desk->served).creation.create_limit_ns = 1;
             },
         .given = [](Model& m) { m.served.clear(); },
         .fresh = true},
        {.name = "acquire_or_create, which tries again",
         .run = make_nine,
         .set = let_one_try_again,
         .effect = with_nine},
        {.name = "acquire_or_create, waiting for its turn",
         .run = make_nine,
         .set = take_all_turns,
         .blocked = [](Stage& s) { s.let_go(); },
         .effect = with_nine},
        {.name = "acquire_or_create, waiting for a return",
         .run = make_nine,
         .set = take_all_there_can_be,
         .blocked = [](Stage& s) { s.give_one_back(); },
         .given =
             [](Model& m) {
                 m.pool.insert({3, 4});
             }},
        {.name = "acquire_or_create, waiting for a place",
         .run = make_nine,
         .set = take_all_there_can_be,
         .blocked =
             [](Stage& s) {
                 const auto three = std::find_if(s.held.begin(), s.held.end(),
                                                 [](const auto& l) { return l->id == 3; });
                 if (three == s.held.end()) return;
                 three->discard();
                 s.held.erase(three);
             },
         .given =
             [](Model& m) {
                 m.pool.insert({3, 4});
             },
         .effect =
             [](Model& m) {
                 m.pool.erase(3);
                 m.pool.insert(9);
             }},
    });
}

TEST_CASE("kill: at the instructions of add, clear and close", "[kill][process]") {
    const auto add = [](Actor& a) { (void)a.desk->pool.add(Resource{9}); };
    const auto clear = [](Actor& a) { a.desk->pool.clear(); };
    const auto close = [](Actor& a) { a.desk->pool.close(); };
    sweep_all({
        {.name = "add", .run = add, .effect = with_nine},
        {.name = "add while somebody waits",
         .run = add,
         .set = take_all,
         .effect = with_nine,
         .waiter = [](Actor& a) { return a.desk->pool.acquire() ? 0 : 1; },
         .help = [](Stage& s) { s.give_one_back(); }},
        {.name = "clear", .run = clear, .effect = [](Model& m) { m.pool.clear(); }},
        {.name = "clear with a destroy hook",
         .prepare = [](Actor& a) { a.desk.hooks(&Desk::served, hooks()); },
         .run = [](Actor& a) { a.desk->served.clear(); },
         .effect = [](Model& m) { m.served.clear(); }},
        {.name = "clear without the hook that others have",
         .prepare = [](Actor& a) { a.desk.hooks(&Desk::served, {}); },
         .run = [](Actor& a) { a.desk->served.clear(); },
         .effect = [](Model& m) { m.served.clear(); }},
        {.name = "close", .run = close, .effect = closed, .fresh = true},
        {.name = "close while somebody waits",
         .run = close,
         .set = take_all,
         .effect = closed,
         .waiter =
             [](Actor& a) {
                 return a.desk->pool.acquire().status() == lagoon::Outcome::closed ? 0 : 1;
             },
         .help = [](Stage& s) { s.desk->pool.close(); },
         .fresh = true},
    });
}

TEST_CASE("kill: at the instructions of hooks", "[kill][process]") {
    const auto set_served = [](Actor& a) { a.desk.hooks(&Desk::served, hooks()); };
    const auto set_reset = [](Actor& a) { a.desk.hooks(&Desk::reset, hooks()); };
    sweep_all({
        {.name = "hooks, check passes", .run = set_served, .set = leave_whole},
        {.name = "hooks, check fails and destroy runs",
         .run = set_served,
         .set = leave_in_pieces,
         .effect = without_12},
        {.name = "hooks, reset runs",
         .run = set_reset,
         .set = leave_in_pieces,
         .effect = without_12},
        {.name = "acquire_for that settles what is dirty",
         .prepare = set_served,
         .run = [](Actor& a) { a.leases.push_back(a.desk->served.acquire_for(1min)); },
         .ready = leave_whole},
    });
}
