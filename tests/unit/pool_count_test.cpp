// pool_count_test.cpp: what a pool tells of itself, and what it costs.
#include <lagoon/lagoon.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <set>

#include "support/rooms.hpp"

using lagoon::SlotStatus;
using support::unique_name;
using namespace std::chrono_literals;
using namespace support::rooms;

TEST_CASE("pool: snapshot shows every slot, and the value of idle ones only") {
    auto room = make_room(4);
    for (int i = 0; i < 3; ++i) room->items.add(Item{10 + i, 0});
    auto lease = room->items.try_acquire();
    room->items.acquire().discard();
    const auto slots = room->items.snapshot();
    REQUIRE(slots.size() == 4);
    std::size_t leased = 0;
    std::size_t idle = 0;
    std::size_t empty = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        CHECK(slots[i].index == i);
        CHECK(slots[i].age >= 0ns);
        CHECK_FALSE(slots[i].recovered);
        switch (slots[i].state) {
            case SlotStatus::leased:
                ++leased;
                CHECK(slots[i].index == lease.index());
                CHECK(slots[i].owner_pid == static_cast<std::uint32_t>(::getpid()));
                CHECK(slots[i].fill == lease.fill());
                CHECK_FALSE(slots[i].value);
                break;
            case SlotStatus::idle:
                ++idle;
                CHECK(slots[i].owner_pid == 0);
                REQUIRE(slots[i].value);
                CHECK(slots[i].value->number == static_cast<std::int64_t>(10 + i));
                break;
            default:
                ++empty;
                CHECK(slots[i].state == SlotStatus::empty);
                CHECK_FALSE(slots[i].value);
        }
    }
    CHECK(leased == 1);
    CHECK(idle == 1);
    CHECK(empty == 2);
    CHECK(std::string{to_string(SlotStatus::quarantined)} == "quarantined");
}

TEST_CASE("pool: snapshot's age grows while nothing happens, and starts anew with a change") {
    auto room = make_full_room(1);
    (void)room->items.snapshot();
    std::this_thread::sleep_for(2ms);
    const auto waited = room->items.snapshot()[0];
    CHECK(waited.age >= 2ms);
    const std::uint64_t uses = waited.uses;
    (void)room->items.try_acquire();
    const auto now = room->items.snapshot()[0];
    CHECK(now.age < waited.age);
    CHECK(now.uses == uses + 1);
}

TEST_CASE("pool: stats count what was done") {
    auto room = make_room(3);
    auto a = room->items.acquire_or_create(making(1));
    auto b = room->items.acquire_or_create(making(2));
    b.give_back();
    b = room->items.try_acquire();
    b.give_back();
    b = room->items.acquire();
    b.discard();
    const auto stats = room->items.stats();
    CHECK(stats.capacity == 3);
    CHECK(stats.idle == 0);
    CHECK(stats.leased == 1);
    CHECK(stats.empty == 2);
    CHECK(stats.creating + stats.dirty + stats.maintained + stats.quarantined == 0);
    CHECK(stats.waiting == 0);
    CHECK(stats.acquired == 4);
    CHECK(stats.created == 2);
    CHECK(stats.destroyed == 1);
    CHECK(stats.create_failed == 0);
    CHECK(stats.recovered == 0);
    CHECK(stats.waits == 0);
    CHECK(stats.timed_out == 0);
    CHECK(stats.late_wakes == 0);
}

TEST_CASE("pool: acquire_n takes all or none") {
    auto room = make_full_room(4);
    auto three = room->items.acquire_n(3);
    REQUIRE(three.size() == 3);
    std::set<std::uint64_t> indices;
    for (const auto& lease : three) indices.insert(lease.index());
    CHECK(indices.size() == 3);
    CHECK(room->items.try_acquire_n(2).empty());
    CHECK(room->items.acquire_n_for(1ms, 2).empty());
    CHECK(room->items.idle() == 1);
    CHECK(room->items.try_acquire_n(1).size() == 1);
    three.pop_back();
    CHECK(room->items.acquire_n(2).size() == 2);
    CHECK(room->items.acquire_n(0).empty());
    CHECK(room->items.acquire_n(5).empty());
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool: a capacity that cannot be is an error when the arena is made") {
    const auto code = [](lagoon::Count capacity) {
        return support::code_of([&] { return Arena::create(unique_name("bad"), {}, capacity); });
    };
    CHECK(code(0) == lagoon::Errc::invalid_argument);
    CHECK(code((std::uint64_t{1} << 24) + 1) == lagoon::Errc::invalid_argument);
    CHECK(support::code_of([&] { return lagoon::Count{-1}; }) == lagoon::Errc::invalid_argument);
}

namespace {

template <std::size_t Bytes>
struct Blob {
    std::array<unsigned char, Bytes> bytes;
};
struct alignas(64) Wide {
    std::int64_t number = 0;
};

template <class T>
struct Two {
    lagoon::Pool<T> spaced{"spaced", {.capacity = 1000}};
    lagoon::Pool<T> dense{"dense", {.capacity = 1000, .dense = true}};
};

template <class T>
void check_cost() {
    CAPTURE(sizeof(T), alignof(T));
    auto two = lagoon::Arena<Two<T>>::create(unique_name("cost"));
    const std::uint64_t line = 64;
    const std::uint64_t value = (sizeof(T) + line - 1) / line * line;
    CHECK(support::body_of(two->spaced).stride <= value + 64);
    if (alignof(T) <= 16) {
        CHECK(support::body_of(two->dense).stride <= (sizeof(T) + 7) / 8 * 8 + 16);
    }
    for (auto* pool : {&two->spaced, &two->dense}) {
        pool->add(T{});
        pool->add(T{});
        auto leases = pool->acquire_n(2);
        REQUIRE(leases.size() == 2);
        for (const auto& lease : leases) {
            CHECK(reinterpret_cast<std::uintptr_t>(lease.get()) % alignof(T) == 0);
        }
        const auto distance = std::abs(reinterpret_cast<char*>(leases[0].get()) -
                                       reinterpret_cast<char*>(leases[1].get()));
        CHECK(static_cast<std::uint64_t>(distance) == support::body_of(*pool).stride);
        // One line of slack for the hints of a thousand slots.
        CHECK(support::body_of(*pool).hint_words * 3 * 8 <= 1000 / 2 + 64);
    }
}

}  // namespace

TEST_CASE("pool: a slot costs 64 bytes beyond its value's lines at the most, a dense one 16") {
    check_cost<char>();
    check_cost<std::int64_t>();
    check_cost<Item>();
    check_cost<Blob<48>>();
    check_cost<Blob<49>>();
    check_cost<Blob<64>>();
    check_cost<Blob<100>>();
    check_cost<Blob<1000>>();
    check_cost<Wide>();
}

TEST_CASE("pool: the whole pool costs in the arena what its slots and hints cost") {
    const std::uint64_t some = make_room(1000)->items.capacity();
    const std::uint64_t base = make_room(1000).bytes();
    const std::uint64_t more = make_room(101000).bytes();
    CHECK(some == 1000);
    // Slots of 64 bytes and half a byte of hints, over the pages.
    CHECK(more - base <= 100000 * 64 + 50000 + 2 * 4096);
    CHECK(more - base >= 100000 * 64);
}

TEST_CASE("pool: on_create of the struct may fill it") {
    struct Filled {
        lagoon::Pool<Item> items{"items", {.capacity = 2}};
        void on_create() { items.add(Item{8, 0}); }
    };
    auto room = lagoon::Arena<Filled>::create(unique_name("filled"));
    CHECK(room->items.idle() == 1);
    CHECK(room->items.acquire()->number == 8);
    auto again = lagoon::Arena<Filled>::open(room.name());
    CHECK(again->items.idle() == 1);
}
