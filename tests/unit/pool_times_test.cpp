// pool_times_test.cpp: histograms of how long things take in a pool.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>

#include "runtime/pool_times.hpp"
#include "support/lives.hpp"

using lagoon::Histogram;
using support::body_of;
using namespace support::lives;
using namespace std::chrono_literals;

namespace {

Arena make_measured(std::uint64_t capacity, std::int64_t filled) {
    return make_room({.measure = true}, capacity, filled);
}

/// The lease of this slot seems to have begun so much earlier; not before the machine.
void make_older(const Arena& room, std::uint64_t slot, std::chrono::nanoseconds by) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    detail::note_began(body_of(room->items), slot, detail::nanoseconds_of(now - by));
}
void take_a_while() {
    const auto end = std::chrono::steady_clock::now() + 2ms;
    support::wait_until([&] { return std::chrono::steady_clock::now() > end; });
}

}  // namespace

TEST_CASE("pool times: buckets follow one another, none much wider than what it begins with") {
    STATIC_REQUIRE(Histogram::bucket_of(0) == 0);
    STATIC_REQUIRE(Histogram::upper_end_ns(0) == 0);
    for (std::size_t bucket = 0; bucket + 1 < Histogram::buckets; ++bucket) {
        const std::uint64_t last = Histogram::upper_end_ns(bucket);
        CHECK(Histogram::bucket_of(last) == bucket);
        CHECK(Histogram::bucket_of(last + 1) == bucket + 1);
        const std::uint64_t next = Histogram::upper_end_ns(bucket + 1);
        if (bucket + 2 < Histogram::buckets) CHECK(next - last <= std::max(last + 1, next) / 4 + 1);
    }
    CHECK(Histogram::upper_end_ns(Histogram::buckets - 2) > 5 * 86'400'000'000'000);
    CHECK(Histogram::bucket_of(~std::uint64_t{0}) == Histogram::buckets - 1);
}

TEST_CASE("pool times: a quantile is the end of the bucket that the share is reached in") {
    Histogram times;
    CHECK(times.quantile(0.5) == 0ns);
    times.counts[2] = 98;
    times.counts[Histogram::bucket_of(1000)] = 1;
    times.counts[Histogram::bucket_of(1'000'000)] = 1;
    CHECK(times.count() == 100);
    CHECK(times.quantile(0) == 2ns);
    CHECK(times.quantile(0.98) == 2ns);
    CHECK(times.quantile(0.99) >= 1us);
    CHECK(times.quantile(0.99) < 1251ns);
    CHECK(times.quantile(1) >= 1ms);
    CHECK(times.quantile(1) < 1251us);
    CHECK(times.quantile(2) == times.quantile(1));
}

TEST_CASE("pool times: leases that were given back, by how long they were out") {
    auto room = make_measured(3, 3);
    for (int i = 0; i < 5; ++i) borrow(room);
    CHECK(room->items.times().held.count() == 5);
    CHECK(room->items.times().held.quantile(1) < 20s);
    auto lease = room->items.acquire();
    CHECK(room->items.times().held.count() == 5);
    make_older(room, lease.index(), 20s);
    SECTION("by its thread") { lease.give_back(); }
    SECTION("by another thread") {
        std::thread{[&] { lease.give_back(); }}.join();
    }
    CHECK(room->items.times().held.count() == 6);
    CHECK(room->items.times().held.quantile(1) >= 20s);
    CHECK(room->items.times().held.quantile(0.8) < 20s);
    // The next lease of it is another one.
    borrow(room);
    CHECK(room->items.times().held.counts == [&] {
        auto counts = room->items.times().held.counts;
        counts[Histogram::bucket_of(detail::nanoseconds_of(20s))] = 1;
        return counts;
    }());
}

TEST_CASE("pool times: what does not come back idle is no lease that was given back") {
    auto room = make_measured(3, 3);
    room->items.acquire().discard();
    CHECK(room->items.acquire().detach().number > 0);
    CHECK(room->items.times().held.count() == 0);
}

TEST_CASE("pool times: acquisitions that may wait, by how long they did") {
    auto room = make_measured(2, 2);
    SECTION("not at all") {
        (void)room->items.acquire();
        (void)room->items.acquire_for(1s);
        (void)room->items.acquire_n(2);
        (void)room->items.acquire_or_create([] { return Item{}; });
        CHECK(room->items.times().waited.count() == 4);
    }
    SECTION("the try_ forms are left out") {
        (void)room->items.try_acquire();
        (void)room->items.try_acquire_n(2);
        (void)room->items.try_acquire_or_create([] { return Item{}; });
        CHECK(room->items.times().waited.count() == 0);
    }
    SECTION("and those that came back empty") {
        auto held = room->items.acquire_n(2);
        (void)room->items.acquire_for(1ms);
        CHECK(room->items.times().waited.count() == 1);
    }
    SECTION("for a while") {
        auto held = room->items.acquire_n(2);
        std::thread waiting{[&] { (void)room->items.acquire(); }};
        support::wait_until([&] { return room->items.stats().waiting == 1; });
        take_a_while();
        held.clear();
        waiting.join();
        CHECK(room->items.times().waited.count() == 2);
        CHECK(room->items.times().waited.quantile(1) >= 2ms);
        CHECK(room->items.times().held.quantile(0.5) >= 2ms);
    }
}

TEST_CASE("pool times: factories, by how long they took") {
    auto room = make_measured(3, 0);
    const auto made = [&] { return room->items.times().made; };
    SECTION("of the caller") {
        (void)room->items.acquire_or_create([] {
            take_a_while();
            return Item{};
        });
        CHECK(made().count() == 1);
        CHECK(made().quantile(1) >= 2ms);
        CHECK(made().quantile(1) < 20s);
    }
    SECTION("of the process") {
        room.hooks(room->items, {.factory = [](Item&) { take_a_while(); }});
        (void)room->items.acquire();
        CHECK(made().count() == 1);
        CHECK(made().quantile(1) >= 2ms);
    }
    SECTION("with on_create") {
        room.hooks(room->items, {.on_create = [](Item&) { take_a_while(); }});
        (void)room->items.acquire_or_create([] { return Item{}; });
        CHECK(made().quantile(1) >= 2ms);
    }
    SECTION("but not what they did not make, nor what add() brings") {
        CHECK_THROWS(room->items.acquire_or_create(
            []() -> Item { throw std::runtime_error{"no more of them"}; }));
        room->items.add(Item{});
        CHECK(made().count() == 0);
    }
}

TEST_CASE("pool times: they are of all processes", "[child]") {
    auto room = make_measured(1, 1);
    REQUIRE(support::in_child([&] {
                borrow(room);
                return 0;
            }) == support::exited(0));
    CHECK(room->items.times().held.count() == 1);
}

TEST_CASE("pool times: a pool that measures nothing keeps none, and needs no room for it") {
    const auto storage_bytes = [](const PoolLife& life) {
        auto room = make_room(life, 1, 1);
        borrow(room);
        CHECK(room->items.times().held.count() == (life.measure ? 1 : 0));
        return lagoon::ArenaView::open(room.name()).members().at(0).bytes;
    };
    const std::uint64_t plain = storage_bytes({.max_uses = 100});
    CHECK(storage_bytes({.max_uses = 100, .measure = true}) >= plain + sizeof(detail::TimeWords));
}

TEST_CASE("pool times: the place of the histograms in a file is checked when it is opened") {
    auto room = make_measured(1, 1);
    std::uint64_t& at = body_of(room->items).creation.times_at;
    const std::uint64_t good = at;
    const auto code = [&] {
        return support::code_of([&] { return lagoon::ArenaView::open(room.name()); });
    };
    for (const std::uint64_t bad :
         {good - 8, good + 8, good + 64, good - 64, std::uint64_t{64}, std::uint64_t{1} << 40}) {
        INFO(bad << " for " << good);
        at = bad;
        CHECK(code() == lagoon::Errc::corrupt);
    }
    at = good;
    CHECK(code() == lagoon::Errc{});
}
