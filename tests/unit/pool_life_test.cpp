// pool_life_test.cpp: when a pool's resources are ended, and which of them is lent.
#include <lagoon/lagoon.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "support/lives.hpp"
#include "support/system_calls.hpp"

using lagoon::Errc;
using lagoon::LendOrder;
using lagoon::PoolLife;
using support::SlotState;
using namespace std::chrono_literals;
using namespace support::lives;
namespace detail = lagoon::detail;

TEST_CASE("pool life: what cannot be is refused, with the member, the value and what it can be") {
    using Catch::Matchers::Contains;
    CHECK(support::code_of([] { return make_room({.max_lifetime = -1ns}); }) ==
          Errc::invalid_argument);
    CHECK_THAT(refusal({.max_lifetime = -1ns}),
               Contains("pool 'items' has a max_lifetime of -1 ns; it can be 0 or more"));
    CHECK_THAT(refusal({.idle_timeout = -5ns}), Contains("idle_timeout of -5 ns; it can be 0"));
    CHECK_THAT(refusal({.validate_after = -7ns}), Contains("validate_after of -7 ns; it can be 0"));
    for (const double jitter : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
        CHECK_THAT(refusal({.lifetime_jitter = jitter}),
                   Contains("lifetime_jitter of ") && Contains("; it can be from 0 to 1"));
    }
    CHECK_THAT(refusal({.idle_timeout = 1h, .min_size = 4}, 3),
               Contains("min_size of 4; it can be up to the capacity, 3"));
    CHECK_THAT(refusal({.order = static_cast<LendOrder>(2)}),
               Contains("order of 2; it can be LendOrder::lifo or LendOrder::fifo"));
    CHECK(refusal({.max_lifetime = std::chrono::nanoseconds::max(), .lifetime_jitter = 1}).empty());
}

TEST_CASE("pool life: a pool without any of it has no records, one with it 32 bytes per slot") {
    const auto bytes = [](const PoolLife& life) {
        const auto room = make_room(life, 640);
        return lagoon::ArenaView::open(room.name()).members().at(0).bytes;
    };
    const std::uint64_t plain = bytes({});
    CHECK(bytes({.lifetime_jitter = 0.5, .min_size = 1}) == plain);
    CHECK(bytes({.max_uses = 1}) == plain + 640 * 32);
    CHECK_FALSE(detail::has_life(support::body_of(make_room({})->items)));
}

TEST_CASE("pool life: every number of it in a file is checked when the file is opened") {
    const std::uint64_t too_long = std::uint64_t{1} << 63;
    using Policy = detail::LifePolicy;
    const std::vector<std::pair<const char*, void (*)(Policy&, std::uint64_t)>> damages{
        {"its life policy", [](Policy& life, std::uint64_t n) { life.max_lifetime_ns = n; }},
        {"its life policy", [](Policy& life, std::uint64_t n) { life.idle_timeout_ns = n; }},
        {"its life policy", [](Policy& life, std::uint64_t n) { life.validate_after_ns = n; }},
        {"its life policy", [](Policy& life, std::uint64_t) { life.min_size = 4; }},
        {"its life policy", [](Policy& life, std::uint64_t) { life.validates = 2; }},
        {"its life policy", [](Policy& life, std::uint64_t) { life.jitter_ppb = 1'000'000'001; }},
        {"its life policy", [](Policy& life, std::uint64_t) { life.order = 2; }},
        {"its life policy", [](Policy& life, std::uint64_t n) { life.lease_limit_ns = n; }},
        {"its life policy", [](Policy& life, std::uint64_t) { life.records_at = 0; }},
        {"the place of its records", [](Policy& life, std::uint64_t n) { life.records_at = n; }},
        {"the place of its records", [](Policy& life, std::uint64_t) { life.records_at += 8; }},
        {"the place of its records", [](Policy& life, std::uint64_t) { life.records_at += 4096; }},
        {"the place of its records", [](Policy& life, std::uint64_t) { life.records_at = 64; }}};
    const auto room = make_room({.max_uses = 1});
    Policy& life = support::body_of(room->items).life;
    const Policy sound = life;
    const auto open = [&] { return lagoon::ArenaView::open(room.name()); };
    for (const auto& [flaw, damage] : damages) {
        damage(life, too_long);
        CHECK(support::code_of(open) == Errc::corrupt);
        CHECK_THAT(support::text_of(open), Catch::Matchers::Contains(flaw));
        life = sound;
    }
    CHECK_NOTHROW(open());
}

TEST_CASE("pool life: what is past its lifetime is ended when it comes back") {
    auto room = make_room({.max_lifetime = 1ns});
    auto lease = room->items.acquire_or_create([] { return Item{1}; });
    REQUIRE(lease);
    lease.give_back();
    CHECK(support::state_of(room->items, lease.index()) == SlotState::empty);
    CHECK(support::is_blank(room->items, lease.index()));
    CHECK(room->items.stats().ended_by_lifetime == 1);
    CHECK(room->items.stats().destroyed == 1);
}

TEST_CASE("pool life: what is past its lifetime is not lent, and makes room for another") {
    auto room = make_room({.max_lifetime = 1ns}, 2, 2);
    SECTION("without a destroy it is gone at once") {
        CHECK_FALSE(room->items.try_acquire());
        CHECK(room->items.stats().empty == 2);
        CHECK(room->items.stats().ended_by_lifetime == 2);
        CHECK(room->items.try_acquire_or_create([] { return Item{3}; }));
    }
    SECTION("with one it waits for who runs hooks") {
        Calls calls;
        room.hooks(room->items, calls.hooks());
        CHECK_FALSE(room->items.try_acquire());
        CHECK_FALSE(room->items.try_acquire_or_create([] { return Item{3}; }));
        CHECK(calls.destroyed.empty());
        CHECK(room->items.stats().dirty == 2);
        CHECK(room->items.stats().ended_by_lifetime == 2);
        const auto lease = room->items.acquire_or_create([] { return Item{3}; });
        REQUIRE(lease);
        CHECK(lease->number == 3);
        std::sort(calls.destroyed.begin(), calls.destroyed.end());
        CHECK(calls.destroyed == Numbers{1, 2});
    }
    require_conserved(room);
}

TEST_CASE("pool life: a lifetime that is not over is not shortened by use") {
    auto room = make_room({.max_lifetime = 1h}, 1, 1);
    for (int i = 0; i < 100; ++i) borrow(room);
    CHECK(room->items.stats().idle == 1);
    CHECK(at_rest(record_of(room, 0).uses) == 100);
}

TEST_CASE("pool life: each filling gets a lifetime of its own, shorter by up to the jitter") {
    const auto lifetimes = [](double jitter) {
        auto room = make_room({.max_lifetime = 1h, .lifetime_jitter = jitter}, 100, 100);
        std::set<std::uint64_t> all;
        for (std::uint64_t slot = 0; slot < 100; ++slot) {
            all.insert(at_rest(record_of(room, slot).due_ns) -
                       at_rest(record_of(room, slot).returned_ns));
        }
        return all;
    };
    const auto hour = static_cast<std::uint64_t>(std::chrono::nanoseconds{1h}.count());
    CHECK(lifetimes(0) == std::set<std::uint64_t>{hour});
    const auto spread = lifetimes(0.25);
    CHECK(spread.size() > 90);
    CHECK(*spread.begin() >= hour / 4 * 3);
    CHECK(*spread.rbegin() <= hour);
    // They are spread over all of it.
    CHECK(*spread.rbegin() - *spread.begin() > hour / 5);
    // Another filling of one slot has another one.
    auto room = make_room({.max_lifetime = 1h, .lifetime_jitter = 1}, 1);
    std::set<std::uint64_t> fillings;
    for (int i = 0; i < 10; ++i) {
        room->items.acquire_or_create([] { return Item{}; }).discard();
        fillings.insert(at_rest(record_of(room, 0).due_ns) -
                        at_rest(record_of(room, 0).returned_ns));
    }
    CHECK(fillings.size() > 5);
}

TEST_CASE("pool life: it is ended when it comes back from max_uses leases") {
    auto room = make_room({.max_uses = 3}, 1, 1);
    borrow(room);
    borrow(room);
    CHECK(room->items.stats().idle == 1);
    borrow(room);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().ended_by_uses == 1);
    // The next filling begins anew.
    room->items.add(Item{2});
    borrow(room);
    CHECK(room->items.stats().idle == 1);
}

TEST_CASE("pool life: an acquire_n in vain is no use") {
    auto room = make_room({.max_uses = 1}, 2, 1);
    CHECK(room->items.try_acquire_n(2).empty());
    CHECK(room->items.acquire_n_for(1ms, 2).empty());
    CHECK(room->items.stats().idle == 1);
    CHECK(room->items.acquire_n(1).size() == 1);
    CHECK(room->items.stats().idle == 0);
}

TEST_CASE("pool life: what is idle too long is ended by who may wait, adds or reaps") {
    const PoolLife short_life{.idle_timeout = 1ns};
    Calls calls;
    SECTION("reaps") {
        auto room = make_room(short_life, 3, 3);
        room.hooks(room->items, calls.hooks());
        (void)room.reap();
        CHECK(room->items.stats().empty == 3);
        CHECK(room->items.stats().ended_by_idle == 3);
    }
    SECTION("creates") {
        auto room = make_room(short_life, 3, 2);
        room.hooks(room->items, calls.hooks());
        CHECK(room->items.acquire_or_create([] { return Item{4}; })->number == 4);
        CHECK(calls.destroyed.size() == 2);
        CHECK(room->items.stats().ended_by_idle == 2);
        require_conserved(room);
    }
    SECTION("adds") {
        auto room = make_room(short_life, 1, 1);
        room.hooks(room->items, calls.hooks());
        CHECK(room->items.add(Item{6}));
        CHECK(calls.destroyed == Numbers{1});
    }
    SECTION("may wait") {
        auto room = make_room({.idle_timeout = 1ns, .min_size = 1}, 3, 3);
        room.hooks(room->items, calls.hooks());
        CHECK(room->items.acquire());
        CHECK(calls.destroyed.size() == 2);
        CHECK(room->items.acquire_n(1).size() == 1);
    }
    SECTION("not by try_ forms") {
        auto room = make_room(short_life, 2, 2);
        room.hooks(room->items, calls.hooks());
        borrow(room);
        CHECK(room->items.stats().idle == 2);
        CHECK(calls.destroyed.empty());
    }
}

TEST_CASE("pool life: idle_timeout leaves min_size filled, the other limits do not") {
    auto room = make_room({.idle_timeout = 1ns, .min_size = 2}, 5, 5);
    (void)room.reap();
    CHECK(room->items.stats().idle == 2);
    (void)room.reap();
    CHECK(room->items.stats().idle == 2);
    SECTION("what is lent counts as filled") {
        const auto lent = room->items.acquire_n(2);
        room->items.add(Item{9});
        (void)room.reap();
        CHECK(room->items.stats().idle == 0);
    }
    SECTION("a resource that is broken goes all the same") {
        auto lease = room->items.acquire();
        lease.mark_broken();
        lease.give_back();
        CHECK(room->items.stats().idle == 1);
    }
}

TEST_CASE("pool life: what is idle for less than the timeout stays") {
    auto room = make_room({.idle_timeout = 1h}, 3, 3);
    (void)room.reap();
    CHECK(room->items.stats().idle == 3);
}

TEST_CASE("pool life: one call looks at 64 slots, the next one at the next") {
    auto room = make_room({.idle_timeout = 1ns}, 192, 192);
    const auto lend_one = [&] {
        CHECK(room->items.acquire());
        return room->items.stats().ended_by_idle;
    };
    CHECK(lend_one() == 64);
    CHECK(lend_one() == 128);
    tend_from(room, for_ever_ns);  // it is not time for the next piece yet
    CHECK(lend_one() == 128);
    (void)room.reap();
    CHECK(room->items.stats().idle == 0);
}

TEST_CASE("pool life: taking and giving back without a wait makes no system call", "[process]") {
    if (support::under_asan) {
        // Before the process ends it asks the kernel for the signal stack.
        return support::skip("no system call", "the address sanitizer makes one of its own");
    }
    auto room = make_room({.max_lifetime = 1h, .max_uses = 2, .validate_after = 1h}, 2, 2);
    CHECK(support::in_child([&] {
              const auto mine = Arena::open(room.name());
              (void)mine->items.try_acquire();
              if (!support::forbid_system_calls()) return 1;
              for (int i = 0; i < 3; ++i) (void)mine->items.try_acquire();
              ::_exit(0);
              return 1;
          }) == support::exited(0));
    CHECK(room->items.stats().ended_by_uses == 2);
}

TEST_CASE("pool life: one at a time ends what is idle, and a dead one is replaced") {
    auto room = make_room({.idle_timeout = 1ns}, 2, 2);
    auto& body = support::body_of(room->items);
    const auto& lane = detail::lane_of(&room->items);
    const std::uint64_t mine = detail::gatherer_token(*lane.attachment, lane.lane);
    // Y7 relaxed store, no pair: as one leaves it who is stopped there.
    body.duty.store(mine, std::memory_order_relaxed);
    (void)room.reap();
    CHECK(room->items.stats().idle == 2);
    // An earlier owner of the same lane, who has died.
    const std::uint64_t dead = mine - (std::uint64_t{1} << 10);
    // Y7 relaxed store, no pair: as above.
    body.duty.store(dead, std::memory_order_relaxed);
    (void)room.reap();
    CHECK(room->items.stats().idle == 0);
    CHECK(at_rest(body.duty) == 0);
}

TEST_CASE("pool life: fifo lends what came back longest ago") {
    auto room = make_room({.order = LendOrder::fifo}, 3, 3);
    const auto next = [&] {
        auto lease = room->items.try_acquire();
        REQUIRE(lease);
        return lease->number;
    };
    CHECK(next() == 1);
    CHECK(next() == 2);
    CHECK(next() == 3);
    CHECK(next() == 1);
    {
        auto two = room->items.acquire();
        auto three = room->items.acquire();
        CHECK(two->number == 2);
        three.give_back();
    }
    CHECK(next() == 1);
    CHECK(next() == 3);
    CHECK(next() == 2);
}

TEST_CASE("pool life: who waits is woken by a resource that is ended, for its place") {
    auto room = make_room({.max_uses = 1}, 1, 1);
    SECTION("at once") {}
    SECTION("by destroy") {
        room.hooks(room->items, {.destroy = [](Item&) {}});
    }
    auto lease = room->items.acquire();
    std::int64_t made = 0;
    std::thread waiter{
        [&] { made = room->items.acquire_or_create([] { return Item{2}; })->number; }};
    support::wait_until([&] { return room->items.stats().waiting == 1; });
    lease.give_back();
    waiter.join();
    CHECK(made == 2);
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool life: giving back to a closed pool ends it as in any other") {
    auto room = make_room({.max_uses = 1}, 1, 1);
    Calls calls;
    room.hooks(room->items, calls.hooks());
    auto lease = room->items.acquire();
    room->items.close();
    lease.give_back();
    CHECK(calls.destroyed == Numbers{1});
    CHECK(room->items.stats().ended_by_uses == 0);
}

TEST_CASE("pool life: no thread keeps or remembers a slot where lives are looked at") {
    auto room = make_room({.max_uses = 100}, 2, 2, {.ownership = lagoon::Ownership::biased});
    for (int i = 0; i < 10; ++i) borrow(room);
    for (std::uint64_t slot = 0; slot < 2; ++slot) {
        CHECK(support::state_of(room->items, slot) == SlotState::free);
    }
    CHECK(at_rest(record_of(room, 0).uses) + at_rest(record_of(room, 1).uses) == 10);
}

TEST_CASE("pool life: threads and their leases are conserved under every limit at once") {
    auto room = make_room({.max_lifetime = 200us,
                           .lifetime_jitter = 0.5,
                           .max_uses = 7,
                           .idle_timeout = 100us,
                           .min_size = 1,
                           .validate_after = 50us,
                           .max_failures = 2},
                          4);
    std::atomic<int> living{0};
    std::atomic<int> most{0};
    std::atomic<int> checks{0};
    room.hooks(room->items, {.on_create =
                                 [&](Item&) {
                                     const int now = ++living;
                                     if (now > most) most = now;
                                 },
                             .check = [&](Item&) { return ++checks % 5 != 0; },
                             .destroy = [&](Item&) { --living; }});
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 2000; ++i) {
                auto lease = room->items.acquire_or_create([] { return Item{}; });
                if (!lease || ++lease->number % 1000 != 1) ++wrong;
                if (i % 11 == t) lease.report_failure();
                if (i % 13 == t) lease.mark_broken();
                lease->number = 0;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(most <= 4);
    (void)room.reap();
    const auto stats = room->items.stats();
    CHECK(stats.idle == static_cast<std::uint64_t>(living));
    CHECK(stats.created - stats.destroyed == stats.idle);
    CHECK(stats.ended_by_lifetime + stats.ended_by_uses + stats.ended_by_idle +
              stats.ended_by_failures + stats.ended_by_check ==
          stats.destroyed);
    require_conserved(room);
}
