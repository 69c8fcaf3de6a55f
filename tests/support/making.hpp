// making.hpp: a pool whose resources are made by the process's factory.
#pragma once

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <catch2/catch.hpp>

#include "runtime/pool_making.hpp"
#include "support/pools.hpp"

namespace support::making {

using lagoon::Outcome;
using lagoon::Phase;
using namespace std::chrono_literals;

struct Item {
    std::int64_t number = 0;
};
using Lease = lagoon::Lease<Item>;

/// What the next arena's pool is made with.
inline lagoon::PoolOptions asked;

struct Room {
    lagoon::Pool<Item> items{"items", asked};
};
using Arena = lagoon::Arena<Room>;

inline Arena make_room(const lagoon::PoolOptions& options) {
    asked = options;
    return Arena::create(unique_name("making"));
}
inline std::uint32_t makers(const Arena& room) {
    return lagoon::detail::makers_of(*lagoon::detail::attachment_of(&room->items));
}

/// Nothing is kept of what was made.
inline bool is_forgotten(const Arena& room) {
    namespace detail = lagoon::detail;
    auto& own =
        detail::pool_private(*detail::attachment_of(&room->items), support::object_of(room->items));
    return own.makings == nullptr;
}

/// A factory that numbers what it makes, each of which it is at until that one is let go.
class Works {
public:
    explicit Works(const Arena& room, lagoon::PoolHooks<Item> hooks = {}) : room_{room} {
        hooks.factory = [this](Item& item) {
            const int number = ++begun_;
            support::wait_until([&] { return let_go_ >= number; });
            item.number = number;
            if (fails_) throw std::runtime_error{"no more of them"};
        };
        room.hooks(room->items, std::move(hooks));
    }
    Works(const Works&) = delete;
    Works& operator=(const Works&) = delete;
    ~Works() {
        let_go(1000);
        support::wait_until([&] { return makers(room_) == 0; });
    }
    void let_go(int up_to) { let_go_ = up_to; }
    void fail(bool fails = true) { fails_ = fails; }
    [[nodiscard]] int begun() const { return begun_; }
    void wait_for_begun(int count = 1) const {
        support::wait_until([&] { return begun_ >= count; });
    }
    /// Somebody has asked for one, and has not waited for it.
    void ask_impatiently() const {
        const int before = begun_;
        // Whoever does not come to ask in its time has waited for no more than a return.
        support::wait_until([&] {
            const Lease none = room_->items.acquire_for(1ms);
            REQUIRE(none.status() == Outcome::timed_out);
            return begun_ > before && none.phase() == Phase::creating;
        });
    }

private:
    const Arena& room_;
    std::atomic<int> begun_{0};
    std::atomic<int> let_go_{0};
    std::atomic<bool> fails_{false};
};

/// A thread that waits for a resource, and keeps it until it is asked what it had.
class Waiting {
public:
    explicit Waiting(const Arena& room, std::chrono::hours patience = 1h)
        : thread_{[this, &room, patience] {
              try {
                  Lease lease = room->items.acquire_for(patience);
                  status_ = lease.status();
                  phase_ = lease.phase();
                  number_ = lease ? lease->number : 0;
                  done_ = true;
                  support::wait_until([this] { return may_end_.load(); });
              } catch (const std::runtime_error& error) {
                  error_ = error.what();
                  done_ = true;
              }
          }} {}
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() { end(); }

    [[nodiscard]] bool is_done() const { return done_; }
    std::int64_t number() { return wait(), number_; }
    Outcome status() { return wait(), status_; }
    Phase phase() { return wait(), phase_; }
    const std::string& error() { return wait(), error_; }
    void end() {
        may_end_ = true;
        if (thread_.joinable()) thread_.join();
    }

private:
    void wait() {
        support::wait_until([this] { return done_.load(); });
    }

    std::int64_t number_ = 0;
    Outcome status_ = Outcome::ok;
    Phase phase_ = Phase::none;
    std::string error_;
    std::atomic<bool> done_{false}, may_end_{false};
    std::thread thread_;
};

}  // namespace support::making
