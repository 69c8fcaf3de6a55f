// load.hpp: what the stress tests do to a pool, and what must hold whatever they do.
#pragma once

#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

#include "support/pools.hpp"

namespace load {

/// LAGOON_STRESS_ITERATIONS, or as many as fit into some seconds, LAGOON_STRESS times.
inline int iterations(int usual) {
    const char* given = std::getenv("LAGOON_STRESS_ITERATIONS");
    if (given != nullptr && *given != 0) return std::atoi(given);
    if (support::under_tsan || support::under_asan) usual /= 10;
    const char* times = std::getenv("LAGOON_STRESS");
    if (times != nullptr && std::atoi(times) > 1) usual *= std::atoi(times);
    return usual > 0 ? usual : 1;
}

/// LAGOON_STRESS_SEED, or one from the clock; printed, so that a failing run can be repeated.
inline std::uint64_t seed() {
    static const std::uint64_t chosen = [] {
        const char* given = std::getenv("LAGOON_STRESS_SEED");
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        const std::uint64_t seed = given != nullptr && *given != 0
                                       ? std::strtoull(given, nullptr, 10)
                                       : static_cast<std::uint64_t>(now);
        std::printf("LAGOON_STRESS_SEED=%llu\n", static_cast<unsigned long long>(seed));
        std::fflush(stdout);
        return seed;
    }();
    return chosen;
}

class Random {
public:
    explicit Random(std::uint64_t stream) : state_{seed() + stream * 0x9e3779b97f4a7c15} {}
    std::uint64_t below(std::uint64_t end) {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t mixed = (state_ ^ (state_ >> 30)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
        return (mixed ^ (mixed >> 31)) % end;
    }

private:
    std::uint64_t state_;
};

/// A resource that notices two holders: plain memory, stamped by whoever holds it.
struct Item {
    std::uint64_t holder = 0;
    std::uint64_t uses = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity = 1, std::uint32_t quarantine_after = 0,
                  lagoon::WaitOrder order = lagoon::WaitOrder::any)
        : items{"items",
                {.capacity = capacity, .quarantine_after = quarantine_after, .wait_order = order}} {
    }
    lagoon::Pool<Item> items;
    lagoon::Counter wrong{"wrong"};  // two holders of one resource, or none where one must be
    lagoon::Counter laps{"laps"};
};
using Arena = lagoon::Arena<Room>;

inline Arena make_room(std::uint64_t capacity, std::uint32_t quarantine_after = 0,
                       lagoon::WaitOrder order = lagoon::WaitOrder::any,
                       const lagoon::ArenaOptions& options = {}) {
    (void)seed();  // one for all processes
    return Arena::create(support::unique_name("stress"), options, lagoon::Count{capacity},
                         quarantine_after, order);
}
inline constexpr std::array both_orders{lagoon::WaitOrder::any, lagoon::WaitOrder::first_come};

/// The holder `me` takes note of its resource. `room` is anything with the counter `wrong`.
template <class Any>
void stamp(Any& room, lagoon::Lease<Item>& lease, std::uint64_t me) {
    if (lease.recovered()) {
        lease->holder = 0;
        lease.mark_clean();
    }
    if (lease->holder != 0) room.wrong.add(1);
    lease->holder = me;
    ++lease->uses;
}
/// Before the resource is given back.
template <class Any>
void unstamp(Any& room, lagoon::Lease<Item>& lease, std::uint64_t me) {
    if (lease->holder != me) room.wrong.add(1);
    lease->holder = 0;
}

/// One step of a worker: any of the ways to take, and any of the ways to give back. Never waits
/// for ever where it could not be served: the pool has places for all that can be held.
template <class Any>
void step(Any& room, Random& random, std::uint64_t me) {
    using namespace std::chrono_literals;
    const std::uint64_t what = random.below(100);
    if (what < 5) {
        const std::uint64_t capacity = room.items.capacity();
        auto several = room.items.acquire_n_for(1ms, 1 + random.below(capacity < 4 ? capacity : 4));
        for (auto& lease : several) stamp(room, lease, me);
        for (auto& lease : several) unstamp(room, lease, me);
        return;
    }
    if (what < 7) {
        (void)room.items.add(Item{});
        return;
    }
    lagoon::Lease<Item> lease;
    if (what < 30) {
        lease = room.items.try_acquire();
    } else if (what < 40) {
        lease = room.items.acquire_for(1ms);
    } else if (what < 60) {
        lease = room.items.acquire_or_create([](Item& item) { item.uses = 0; });
    } else {
        lease = room.items.acquire_or_create([] { return Item{}; });
    }
    if (!lease) return;
    stamp(room, lease, me);
    if (random.below(16) == 0) std::this_thread::yield();
    unstamp(room, lease, me);
    switch (random.below(32)) {
        case 0: lease.discard(); break;
        case 1: (void)lease.detach(); break;
        default: break;  // its destructor
    }
}

/// At rest: every slot is idle, empty or quarantined; each idle one is lent once, and by its
/// hints.
template <class Any>
void check_conservation(lagoon::Arena<Any>& room) {
    const auto stats = room->items.stats();
    CHECK(room->wrong.load() == 0);
    CHECK(stats.leased == 0);
    CHECK(stats.creating == 0);
    CHECK(stats.dirty == 0);
    CHECK(stats.maintained == 0);
    CHECK(stats.idle + stats.empty + stats.quarantined == stats.capacity);
    std::set<std::uint64_t> seen;
    std::vector<lagoon::Lease<Item>> held;
    std::thread{[&] {  // a thread that remembers nothing
        while (auto lease = room->items.try_acquire()) {
            seen.insert(lease.index());
            held.push_back(std::move(lease));
        }
    }}
        .join();
    CHECK(held.size() == stats.idle);
    CHECK(seen.size() == stats.idle);
    std::vector<lagoon::Lease<Item>> made;
    while (auto lease = room->items.try_acquire_or_create([](Item&) {})) {
        seen.insert(lease.index());
        made.push_back(std::move(lease));
    }
    CHECK(made.size() == stats.empty);
    CHECK(seen.size() == stats.idle + stats.empty);
}

}  // namespace load
