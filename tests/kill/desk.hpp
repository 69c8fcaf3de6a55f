// desk.hpp: an arena with one of everything, processes that work on it, and a model of what it
// holds.
#pragma once

#include <array>
#include <lagoon/lagoon.hpp>
#include <optional>
#include <runtime/attachment.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/pools.hpp"

namespace rig {

using lagoon::Arena;
using lagoon::Lease;
using Wide = std::array<std::uint64_t, 5>;
using Text = lagoon::String<24>;

/// Whole when `proof` belongs to the rest; whoever dies in use() leaves it in pieces.
struct Resource {
    std::uint64_t id = 0;
    std::uint64_t uses = 0;
    std::uint64_t proof = 0;

    explicit constexpr Resource(std::uint64_t number) noexcept : id{number}, proof{number} {}
    constexpr Resource() noexcept = default;
    using lagoon_arena_safe = void;

    void use() noexcept {
        ++uses;
        lagoon::detail::light_fence();  // one store after the other
        proof = id + uses;
    }
    [[nodiscard]] bool whole() const noexcept { return proof == id + uses; }
};

/// Of `pool` in the next desk that is made.
inline lagoon::WaitOrder next_wait_order = lagoon::WaitOrder::any;

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::ShardedCounter events{"events"};
    lagoon::Array<int> numbers{"numbers", 3};
    lagoon::Value<int> narrow{"narrow"};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Value<Text> text{"text"};
    lagoon::Array<Wide> table{"table", 2};
    lagoon::Lock lock{"lock"};
    lagoon::Lock strict{"strict", {.strict_owner = true}};
    // However often its borrowers die, a resource is lent on; and made again at once.
    lagoon::Pool<Resource> pool{
        "pool",
        {.capacity = 4,
         .quarantine_after = 0,
         .creation = {.at_once = 2, .retry_after = std::chrono::nanoseconds{1}},
         .wait_order = next_wait_order}};
    /// More than one leaf of hints.
    lagoon::Pool<std::uint64_t> many{"many",
                                     {.capacity = 70, .dense = true, .quarantine_after = 0}};
    /// With hooks, in the test's process and where an operation sets them.
    lagoon::Pool<Resource> served{"served", {.capacity = 2, .quarantine_after = 0}};
    lagoon::Pool<Resource> reset{
        "reset",
        {.capacity = 2, .on_death = lagoon::OnDeath::reset_then_reuse, .quarantine_after = 0}};
    /// What becomes of a dead one's resource in other ways; one waiter at a time in the last.
    lagoon::Pool<Resource> ended{
        "ended", {.capacity = 2, .on_death = lagoon::OnDeath::destroy, .quarantine_after = 0}};
    lagoon::Pool<Resource> apart{"apart", {.capacity = 2, .on_death = lagoon::OnDeath::quarantine}};
    lagoon::Pool<Resource> twice{"twice",
                                 {.capacity = 2,
                                  .on_death = lagoon::OnDeath::reuse,
                                  .max_waiters = 1,
                                  .quarantine_after = 2}};
    /// With hooks, as `served`; what is over or is to be checked, its records say.
    lagoon::Pool<Resource> aged{"aged",
                                {.capacity = 2,
                                 .quarantine_after = 0,
                                 .life = {.max_lifetime = std::chrono::hours{1},
                                          .idle_timeout = std::chrono::minutes{3},
                                          .validate_after = std::chrono::minutes{1},
                                          .lease_limit = std::chrono::hours{1},
                                          .measure = true}}};
};

/// `act(pool)` for each.
template <class Act>
void each_pool(const Arena<Desk>& desk, Act&& act) {
    act(desk->pool);
    act(desk->many);
    act(desk->served);
    act(desk->reset);
    act(desk->ended);
    act(desk->apart);
    act(desk->twice);
    act(desk->aged);
}

/// What a process that works on the desk has in hand.
struct Actor {
    Actor(Arena<Desk> on, const support::Flag& from) : desk{std::move(on)}, flag{from} {}

    Arena<Desk> desk;
    const support::Flag& flag;         // from the test
    Arena<Desk>* inherited = nullptr;  // the test's own handle, as the fork has copied it
    std::vector<Lease<Resource>> leases;
    std::vector<Lease<std::uint64_t>> many;
    std::chrono::milliseconds patience{0};  // for waits with a deadline: past the last step
    std::uint64_t claim = 0;                // on the wide value
    std::stop_source stop;
    std::vector<std::thread> threads;
};

/// What can be seen of a desk at rest.
struct Model {
    std::int64_t total = 0;
    std::int64_t events = 0;
    std::array<int, 3> numbers{};
    int narrow = 0;
    Wide wide{};
    std::string text;
    std::set<std::uint64_t> pool;  // ids of the resources
    std::set<std::uint64_t> served;
    std::set<std::uint64_t> reset;
    std::set<std::uint64_t> ended;
    std::set<std::uint64_t> apart;
    std::set<std::uint64_t> twice;
    std::set<std::uint64_t> aged;
    std::uint64_t many = 0;
    bool closed = false;
};

/// The code for `served`, `reset`, `ended` and `aged`.
inline lagoon::PoolHooks<Resource> hooks() {
    return {.check = [](Resource& resource) { return resource.whole(); },
            .reset =
                [](Resource& resource) {
                    resource.proof = resource.id + resource.uses;
                    return true;
                },
            .destroy = [](Resource& resource) { resource = {}; }};
}

inline Arena<Desk> make_desk(const std::string& name, lagoon::Ownership ownership,
                             lagoon::WaitOrder order) {
    lagoon::ArenaOptions options;
    options.max_processes = 6;
    options.max_threads = 8;
    options.ownership = ownership;
    next_wait_order = order;
    return Arena<Desk>::create(name, options);
}

/// One word of a pool, and who is behind it.
struct SlotSeen {
    std::uint64_t truth = 0;
    std::uint64_t meta = 0;
    std::uint64_t id = 0;  // of the resource
    bool of_the_dead = false;
};

template <class T>
std::uint64_t meta_of(lagoon::Pool<T>& pool, std::uint64_t index) {
    // Y3 acquire load <- O14, O8.
    return lagoon::detail::pool_slot(support::object_of(pool), index)
        .meta.load(std::memory_order_acquire);
}

inline const Resource& resource_of(lagoon::Pool<Resource>& pool, std::uint64_t index) {
    const auto& slot = lagoon::detail::pool_slot(support::object_of(pool), index);
    return *reinterpret_cast<const Resource*>(reinterpret_cast<const std::byte*>(&slot) +
                                              lagoon::detail::value_offset<Resource>);
}

}  // namespace rig
