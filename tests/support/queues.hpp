// queues.hpp: a pool whose waiters are served in the order of their coming.
#pragma once

#include <signal.h>

#include <mutex>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "support/pools.hpp"

namespace support::queues {

using lagoon::WaitOrder;

struct Item {
    std::int64_t number = 0;
};
struct Room {
    explicit Room(lagoon::Count capacity = 1, std::uint32_t most = 0, std::uint32_t at_once = 0)
        : items{"items",
                {.capacity = capacity,
                 .max_waiters = most,
                 .creation = {.at_once = at_once},
                 .wait_order = WaitOrder::first_come}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

inline Arena make_room(std::uint64_t capacity, std::uint64_t filled,
                       const lagoon::ArenaOptions& with = {}, std::uint32_t most_waiters = 0,
                       std::uint32_t at_once = 0) {
    auto room = Arena::create(support::unique_name("queue"), with, capacity, most_waiters, at_once);
    for (std::uint64_t i = 0; i < filled; ++i) room->items.add(Item{});
    return room;
}
template <class Any>
void wait_for_waiters(const lagoon::Arena<Any>& room, std::uint64_t count) {
    support::wait_until([&] { return room->items.stats().waiting == count; });
}

/// A process of its own that calls `wait`, and ends when it has had what it waited for.
template <class Wait>
Child waiting_process(const Arena& room, Wait&& wait) {
    const std::uint64_t before = room->items.stats().waiting;
    Child child{[&wait, name = room.name()] {
        const auto mine = Arena::open(name);
        return wait(mine->items) ? 0 : 1;
    }};
    wait_for_waiters(room, before + 1);
    return child;
}
inline Child waiting_process(const Arena& room) {
    return waiting_process(room, [](auto& items) { return items.acquire(); });
}
/// Would be content with a place.
inline Child making_process(const Arena& room) {
    return waiting_process(
        room, [](auto& items) { return items.acquire_or_create([] { return Item{}; }); });
}

/// Threads that come to the queue one after another, and what they say they have had.
class Crowd {
public:
    explicit Crowd(const Arena& room) : room_{room} {}
    ~Crowd() { join(); }
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

    /// `wait` returns a lease or several, which are given back when it has been noted.
    template <class Wait>
    void add(int name, Wait&& wait) {
        const std::uint64_t before = room_->items.stats().waiting;
        threads_.emplace_back([this, name, wait] {
            const auto had = wait(room_->items);
            const std::lock_guard lock{mutex_};
            served_.push_back(name);
        });
        wait_for_waiters(room_, before + 1);
    }
    void add_one(int name) {
        add(name, [](auto& items) { return items.acquire(); });
    }
    std::vector<int> join() {
        for (auto& thread : threads_) thread.join();
        threads_.clear();
        return served_;
    }

private:
    const Arena& room_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::vector<int> served_;
};

inline void require_at_rest(const Arena& room, std::uint64_t idle) {
    const auto stats = room->items.stats();
    CHECK(stats.idle == idle);
    CHECK(stats.waiting == 0);
    CHECK(stats.late_wakes == 0);
    CHECK(stats.damaged == 0);
}

}  // namespace support::queues
