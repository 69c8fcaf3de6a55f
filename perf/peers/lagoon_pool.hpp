// lagoon_pool.hpp: the pool itself as a subject, through its public calls alone.
//
//   Shape      one arena with one pool, of a name of this run alone; participant 0 creates and
//              fills it, the others open it
#pragma once

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>

#include <lagoon/arena.hpp>
#include <lagoon/pool.hpp>

#include "../support/stage.hpp"

namespace lagoon_perf {

struct PooledWord {
    std::uint64_t value = 0;
};

/// All that looks at the clock (CLOCK_MONOTONIC), and never comes to anything in a run.
inline lagoon::PoolLife every_clock() {
    using std::chrono::hours;
    return {.max_lifetime = hours{24},
            .lifetime_jitter = 0.1,
            .max_uses = 4'000'000'000,
            .idle_timeout = hours{24},
            .validate_after = hours{24},
            .max_failures = 10,
            .lease_limit = hours{24},
            .measure = true};
}

enum class PoolKind : std::uint32_t {
    plain,
    clocked,     // with a PoolLife
    first_come,  // waiters are served in the order of their coming
};
inline lagoon::PoolOptions options_of(lagoon::Count capacity, PoolKind kind) {
    return {.capacity = capacity,
            .quarantine_after = 0,  // whose borrowers die, they are lent on
            .life = kind == PoolKind::clocked ? every_clock() : lagoon::PoolLife{},
            .wait_order = kind == PoolKind::first_come ? lagoon::WaitOrder::first_come
                                                       : lagoon::WaitOrder::any};
}

struct PoolArena {
    explicit PoolArena(lagoon::Count capacity, PoolKind kind = PoolKind::plain)
        : pool{"pool", options_of(capacity, kind)} {}
    lagoon::Pool<PooledWord> pool;
};

class LagoonPool {
public:
    using Held = lagoon::Lease<PooledWord>;

    LagoonPool(Stage& stage, std::uint32_t capacity_slots, const lagoon::ArenaOptions& options = {})
        : LagoonPool(stage, capacity_slots, options, stage.next_name()) {}
    LagoonPool(const Stage& stage, std::uint32_t capacity_slots,
               const lagoon::ArenaOptions& options, const std::string& name,
               PoolKind kind = PoolKind::plain)
        : arena_(attach(stage, capacity_slots, options, name, kind)), pool_(arena_->pool) {
        if (!stage.is_creator()) return;
        for (std::uint32_t slot = 0; slot < capacity_slots; ++slot) {
            if (!pool_.add(PooledWord{slot})) throw std::runtime_error("the pool is too small");
        }
    }

    // Inlined for certain, as every smaller peer is anyway.
    [[gnu::always_inline]] Held take() { return pool_.try_acquire(); }
    bool has(const Held& held) const { return static_cast<bool>(held); }
    const void* address(Held& held) const { return &*held; }
    [[gnu::always_inline]] void give(Held& held) { held.give_back(); }
    void leave(Held&) {}  // the lease's destructor gives it back
    /// May sleep.
    Held wait() { return pool_.acquire(); }
    [[nodiscard]] lagoon::Pool<PooledWord>& pool() { return pool_; }

private:
    static lagoon::Arena<PoolArena> attach(const Stage& stage, std::uint32_t capacity_slots,
                                           const lagoon::ArenaOptions& options,
                                           const std::string& name, PoolKind kind) {
        const lagoon::Count capacity{capacity_slots};
        if (!stage.is_creator()) return lagoon::Arena<PoolArena>::open(name, capacity, kind);
        return lagoon::Arena<PoolArena>::create(name, options, capacity, kind);
    }

    lagoon::Arena<PoolArena> arena_;
    lagoon::Pool<PooledWord>& pool_;
};

/// The same, of another kind.
template <PoolKind kind>
class LagoonPoolOf : public LagoonPool {
public:
    LagoonPoolOf(Stage& stage, std::uint32_t capacity_slots)
        : LagoonPool(stage, capacity_slots, {}, stage.next_name(), kind) {}
};
using ClockedPool = LagoonPoolOf<PoolKind::clocked>;
using FirstComePool = LagoonPoolOf<PoolKind::first_come>;

}  // namespace lagoon_perf
