// pool_life_points_test.cpp: killed at the instructions of ending a resource for its age or its
// use, and of checking one before it is lent.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"
#include "runtime/pool_life.hpp"

using rig::Actor;
using rig::Desk;
using rig::hooks;
using rig::Model;
using rig::Operation;
using rig::Resource;
using rig::SlotState;
using rig::Stage;
using rig::sweep_all;
using namespace std::chrono_literals;

namespace {

lagoon::detail::LifeRecord& record_of(lagoon::Pool<Resource>& pool, std::uint64_t index) {
    return lagoon::detail::record_of(support::body_of(pool), index);
}
/// Its lifetime is over.
void make_due(lagoon::Pool<Resource>& pool, std::uint64_t slot) {
    // Y8 relaxed store, no pair: nobody else has the slot.
    record_of(pool, slot).due_ns.store(1, std::memory_order_relaxed);
}
/// They are idle for longer than one of these, however short a time ago the machine was started.
void make_idle(Stage& stage, std::chrono::nanoseconds timeout, std::chrono::nanoseconds validate) {
    auto& pool = stage.desk->aged;
    lagoon::detail::LifePolicy& life = support::body_of(pool).life;
    life.idle_timeout_ns = static_cast<std::uint64_t>(timeout.count());
    life.validate_after_ns = static_cast<std::uint64_t>(validate.count());
    for (std::uint64_t slot = 0; slot < pool.capacity(); ++slot) {
        // Y8 relaxed store, no pair: as above.
        record_of(pool, slot).returned_ns.store(1, std::memory_order_relaxed);
    }
    // Y8 relaxed store, no pair: a hint, for it is time to look at them.
    support::body_of(pool).duty_due_ns.store(0, std::memory_order_relaxed);
}
void make_idle_long(Stage& stage) {
    // What is put in during the test is not.
    make_idle(stage, std::chrono::steady_clock::now().time_since_epoch() / 2, 24h);
}
void make_worth_a_check(Stage& stage) { make_idle(stage, 24h * 300, 1ns); }
void with_hooks(Actor& actor) {
    rig::warm(actor);
    actor.desk.hooks(&Desk::aged, hooks());
}
void take_both(Actor& actor) {
    rig::warm(actor);
    for (int i = 0; i < 2; ++i) actor.leases.push_back(actor.desk->aged.try_acquire());
    if (!actor.leases[0] || !actor.leases[1]) std::abort();
    if (actor.leases[0]->id == 61) std::swap(actor.leases[0], actor.leases[1]);
}
/// The lease of this slot has been out since the machine was started, which is too long.
void make_overdue(lagoon::Pool<Resource>& pool, std::uint64_t slot) {
    support::body_of(pool).life.lease_limit_ns = 1;
    auto& since = record_of(pool, slot).since;
    // Y6 relaxed load, no pair: nobody writes it now.
    const std::uint64_t generation = since.load(std::memory_order_relaxed) & 0xffffff;
    // Y8 relaxed store, no pair: nobody else has the slot.
    since.store(std::uint64_t{1} << 24 | generation, std::memory_order_relaxed);
}
void without_62(Model& model) { model.aged.erase(62); }
void without_both(Model& model) { model.aged.clear(); }
void none_is_left(Stage& stage, bool) {
    // Whoever was killed had the duty, perhaps: the next one has ended them all the same.
    REQUIRE(stage.desk->aged.idle() == 0);
    // Y9 relaxed load, no pair: nobody else is there.
    REQUIRE(support::body_of(stage.desk->aged).duty.load(std::memory_order_relaxed) == 0);
}

}  // namespace

TEST_CASE("kill: at the instructions of giving back what is not lent again", "[kill][process]") {
    const auto give_back = [](Actor& a) { a.leases[0].give_back(); };
    const auto take_two_of_pool = [](Actor& a) {
        a.leases = a.desk->pool.acquire_n(2);
        if (a.leases[0]->id != 2) std::swap(a.leases[0], a.leases[1]);
    };
    const auto break_and_give_back = [](Actor& a) {
        a.leases[0].mark_broken();
        a.leases[0].give_back();
    };
    const auto without_2 = [](Model& m) { m.pool.erase(2); };
    sweep_all({
        {.name = "give_back past its lifetime, to who has destroy",
         .prepare =
             [](Actor& a) {
                 take_both(a);
                 make_due(a.desk->aged, a.leases[0].index());
             },
         .run = give_back,
         .effect = without_62},
        {.name = "report_failure and give_back",
         .prepare = take_both,
         .run =
             [](Actor& a) {
                 a.leases[0].report_failure();
                 a.leases[0].give_back();
             }},
        {.name = "mark_broken and give_back, nobody has a destroy",
         .prepare = take_two_of_pool,
         .run = break_and_give_back,
         .effect = without_2},
        {.name = "mark_broken and give_back of a slot that the thread keeps",
         .prepare = take_two_of_pool,
         .run = break_and_give_back,
         .effect = without_2,
         .ownership = lagoon::Ownership::biased},
        {.name = "mark_broken and give_back while somebody waits for the place",
         .prepare =
             [](Actor& a) {
                 take_both(a);
                 a.desk.hooks(&Desk::aged, hooks());
             },
         .run = break_and_give_back,
         .effect =
             [](Model& m) {
                 m.aged.erase(62);
                 m.aged.insert(9);
             },
         .waiter =
             [](Actor& a) {
                 a.desk.hooks(&Desk::aged, hooks());
                 auto lease = a.desk->aged.acquire_or_create([] { return Resource{9}; });
                 return lease ? 0 : 1;
             }},
    });
}

TEST_CASE("kill: at the instructions of taking what is to be checked first", "[kill][process]") {
    sweep_all({
        {.name = "acquire with a check that passes",
         .prepare = with_hooks,
         .run = [](Actor& a) { a.leases.push_back(a.desk->aged.acquire()); },
         .set = make_worth_a_check},
        {.name = "acquire_n with checks that pass",
         .prepare = with_hooks,
         .run = [](Actor& a) { a.leases = a.desk->aged.acquire_n(2); },
         .set = make_worth_a_check},
        {.name = "acquire_for with checks that fail",
         .prepare =
             [](Actor& a) {
                 rig::warm(a);
                 auto all = hooks();
                 all.check = [](Resource& resource) {
                     resource.use();
                     return false;
                 };
                 a.desk.hooks(&Desk::aged, all);
             },
         .run = [](Actor& a) { (void)a.desk->aged.acquire_for(a.patience); },
         .set = make_worth_a_check,
         .effect = without_both},
    });
}

TEST_CASE("kill: at the instructions of ending what is over while it is idle", "[kill][process]") {
    const auto due = [](Stage& s) {
        for (std::uint64_t slot = 0; slot < 2; ++slot) make_due(s.desk->aged, slot);
    };
    sweep_all({
        {.name = "try_acquire that meets what is past its lifetime",
         .run = [](Actor& a) { (void)a.desk->aged.try_acquire(); },
         .set = due,
         .effect = without_both},
        {.name = "reap of what is idle too long",
         .prepare = with_hooks,
         .run = [](Actor& a) { (void)a.desk.reap(); },
         .set = make_idle_long,
         .effect = without_both,
         .check = none_is_left},
        {.name = "reap of what is idle too long, without the hook",
         .run = [](Actor& a) { (void)a.desk.reap(); },
         .set = make_idle_long,
         .effect = without_both,
         .check = none_is_left},
        {.name = "add behind what is idle too long",
         .prepare = with_hooks,
         .run = [](Actor& a) { (void)a.desk->aged.add(Resource{9}); },
         .set = make_idle_long,
         .effect = [](Model& m) { m.aged = {9}; }},
    });
}

namespace {
lagoon::OverdueLease told;
}  // namespace

TEST_CASE("kill: at the instructions of telling of what is out for too long", "[kill][process]") {
    sweep_all({
        {.name = "reap that tells of a lease",
         .prepare =
             [](Actor& a) {
                 take_both(a);
                 auto all = hooks();
                 all.on_overdue = [](const lagoon::OverdueLease& lease) { told = lease; };
                 a.desk.hooks(&Desk::aged, all);
                 make_overdue(a.desk->aged, a.leases[0].index());
             },
         .run =
             [](Actor& a) {
                 (void)a.desk.reap();
                 if (told.held_for.count() == 0) std::abort();
             }},
    });
}
