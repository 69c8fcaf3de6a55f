// pool_creation.cpp: how many factories are at work, and when one is tried again.
//
// A turn is a hint of which slot's word owns it: BUILDING, in one generation. It is spent once that
// word is another, whoever changed it, and stays so; a spent turn is taken by compare-and-swap. So
// nobody gives a turn back, and no death can keep one.
//
//   killed                                leaves
//   between the place and the turn        BUILDING(dead): repaired, as without a limit
//   behind the turn                       the same; the repair spends the turn and counts a failure
//   whoever notes a failure, before it    the next one is tried at once
//
//   Edges      T2 -> T1: whoever sees a turn sees its slot BUILDING
#include "pool_creation.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

#include <lagoon/error.hpp>

#include "pool_body.hpp"
#include "pool_clock.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::chrono::hours longest{24 * 366};  // of a retry, and of a limit
constexpr std::uint64_t index_bits = 24;
static_assert(capacity_limit == std::uint64_t{1} << index_bits);
static_assert(word::generation_shift >= index_bits);

std::uint64_t turn_of(std::uint64_t building, std::uint64_t index) noexcept {
    return word::generation(building) << index_bits | index;
}

bool is_spent(PoolBody& body, std::uint64_t turn) noexcept {
    const std::uint64_t index = turn & ((std::uint64_t{1} << index_bits) - 1);
    if (index >= body.capacity) return true;  // only damage leaves such a one
    const std::uint64_t word = truth_of(body, index);
    return word::state(word) != SlotState::building || turn_of(word, index) != turn;
}

std::uint64_t retry_of(const PoolBody& body) noexcept {
    // T3 relaxed load, no pair: a time, and what T4 expects.
    return body.making.retry_ns.load(std::memory_order_relaxed);
}

/// The longest that may be between two tries.
std::uint64_t longest_ns(const CreationPolicy& policy) noexcept {
    return std::max(policy.retry_at_most_ns, policy.retry_after_ns);
}
/// A time further off than that is damage.
bool is_later(const CreationPolicy& policy, std::uint64_t retry, std::uint64_t now) noexcept {
    return now < retry && retry - now <= longest_ns(policy);
}

/// For how long, after so many failures in a row, of which there is one.
std::uint64_t delay_ns(const CreationPolicy& policy, std::uint64_t failures) noexcept {
    const std::uint64_t most = longest_ns(policy);
    std::uint64_t delay = policy.retry_after_ns;
    for (std::uint64_t n = 1; n < failures && delay < most; ++n) delay *= 2;
    return std::min(delay, most);
}

void require_limits(const char* pool, const PoolLimits& limits) {
    const std::array<std::pair<const char*, std::chrono::nanoseconds>, 3> all{
        {{"create", limits.create}, {"check", limits.check}, {"reset", limits.reset}}};
    for (const auto& [name, limit] : all) {
        if (limit.count() >= 0 && limit <= longest) continue;
        throw Error{Errc::invalid_argument, std::string{"pool '"} + pool + "' has a limits." +
                                                name + " of " + std::to_string(limit.count()) +
                                                " ns; it can be from 0 to a year"};
    }
}

}  // namespace

void require_creation(const char* pool, const PoolOptions& options) {
    require_limits(pool, options.limits);
    const PoolCreation& creation = options.creation;
    const auto refuse = [&](const char* name, std::int64_t found, const std::string& can_be) {
        throw Error{Errc::invalid_argument, std::string{"pool '"} + pool + "' has a creation." +
                                                name + " of " + std::to_string(found) +
                                                "; it can be " + can_be};
    };
    if (creation.at_once > most_turns) {
        refuse("at_once", static_cast<std::int64_t>(creation.at_once.value),
               "up to " + std::to_string(most_turns) + ", or 0 for no limit");
    }
    if (creation.retry_after.count() < 0 || creation.retry_after > longest) {
        refuse("retry_after", creation.retry_after.count(), "from 0 ns to a year");
    }
    const bool shortens =
        creation.retry_at_most.count() != 0 && creation.retry_at_most < creation.retry_after;
    if (shortens || creation.retry_at_most.count() < 0 || creation.retry_at_most > longest) {
        refuse("retry_at_most", creation.retry_at_most.count(), "0, or from retry_after to a year");
    }
}

void write_creation(PoolBody& body, const PoolOptions& options) noexcept {
    CreationPolicy& into = body.creation;
    into.at_once = options.creation.at_once;
    into.retry_after_ns = nanoseconds_of(options.creation.retry_after);
    into.retry_at_most_ns = nanoseconds_of(options.creation.retry_at_most);
    into.create_limit_ns = nanoseconds_of(options.limits.create);
    into.check_limit_ns = nanoseconds_of(options.limits.check);
    into.reset_limit_ns = nanoseconds_of(options.limits.reset);
}

Deadline until_limit(std::uint64_t limit_ns) noexcept {
    if (limit_ns == 0) return for_ever;
    return std::chrono::steady_clock::now() + std::chrono::nanoseconds{limit_ns};
}

bool is_past(Deadline until) noexcept {
    return until != for_ever && std::chrono::steady_clock::now() > until;
}

const char* creation_flaw(const PoolBody& body) noexcept {
    const CreationPolicy& policy = body.creation;
    const std::array durations{policy.retry_after_ns, policy.retry_at_most_ns,
                               policy.create_limit_ns, policy.check_limit_ns,
                               policy.reset_limit_ns};
    const bool known =
        policy.at_once <= most_turns &&
        std::ranges::all_of(durations, [](auto ns) { return ns <= nanoseconds_of(longest); }) &&
        policy.reserved == 0;
    return known ? nullptr : "its creation policy, or its limits";
}

Turn ask_turn(PoolBody& body) noexcept {
    const std::uint64_t retry = next_try_ns(body);
    if (retry != 0 && is_later(body.creation, retry, clock_ns())) return Turn::later;
    if (body.creation.at_once == 0) return Turn::mine;
    for (std::uint64_t i = 0; i < body.creation.at_once; ++i) {
        // T1 acquire load <- T2: its slot's word, looked at next, is no older. kept: too old a word
        // would only make us claim a place and give it back, for T2 looks again.
        if (is_spent(body, body.making.turn[i].load(std::memory_order_acquire))) return Turn::mine;
    }
    return Turn::busy;
}

std::uint64_t free_turns(PoolBody& body) noexcept {
    const std::uint64_t retry = next_try_ns(body);
    if (retry != 0 && is_later(body.creation, retry, clock_ns())) return 0;
    if (body.creation.at_once == 0) return body.capacity;
    std::uint64_t free = 0;
    for (std::uint64_t i = 0; i < body.creation.at_once; ++i) {
        // T1 acquire load <- T2. kept: as in ask_turn; whose turn ends wakes all.
        free += is_spent(body, body.making.turn[i].load(std::memory_order_acquire)) ? 1 : 0;
    }
    return free;
}

Turn take_turn(PoolBody& body, Taken building) noexcept {
    const CreationPolicy& policy = body.creation;
    const std::uint64_t at_once = policy.at_once;
    bool has_turn = at_once == 0;
    for (std::uint64_t i = 0; i < at_once && !has_turn; ++i) {
        Atomic<std::uint64_t>& turn = body.making.turn[i];
        // T1 acquire load <- T2: its slot's word, looked at next, is no older, or a turn that is
        // not spent would look as if it were.
        std::uint64_t seen = turn.load(std::memory_order_acquire);
        while (is_spent(body, seen)) {
            // T2 release RMW -> T1: our slot's word is BUILDING; where it fails, as T1. kept: its
            // release, for O15 behind that word does the same.
            has_turn =
                turn.compare_exchange_strong(seen, turn_of(building.word, building.index),
                                             std::memory_order_release, std::memory_order_acquire);
            if (has_turn) break;
        }
    }
    if (!has_turn) return Turn::busy;
    if (policy.retry_after_ns == 0) return Turn::mine;
    std::uint64_t retry = retry_of(body);
    if (retry == 0) return Turn::mine;
    const std::uint64_t now = clock_ns();
    if (is_later(policy, retry, now)) return Turn::later;
    const std::uint64_t then = now + delay_ns(policy, read(body.making.failures));
    // T4 relaxed RMW, no pair: one of those who come when it is time tries, the others wait on.
    return body.making.retry_ns.compare_exchange_strong(retry, then, std::memory_order_relaxed,
                                                        std::memory_order_relaxed)
               ? Turn::mine
               : Turn::later;
}

std::uint64_t next_try_ns(const PoolBody& body) noexcept {
    return body.creation.retry_after_ns != 0 ? retry_of(body) : 0;
}

std::chrono::nanoseconds until_next_try(const PoolBody& body) noexcept {
    const std::uint64_t retry = next_try_ns(body);
    const std::uint64_t now = clock_ns();
    if (!is_later(body.creation, retry, now)) return std::chrono::nanoseconds{0};
    return std::chrono::nanoseconds{retry - now};
}

void end_turn(PoolObject& pool) noexcept {
    if (body_of(pool).creation.at_once != 0) wake_for_place(pool);
}

void note_made(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    if (next_try_ns(body) == 0) return end_turn(pool);
    // T5 relaxed store, no pair: a hint.
    body.making.failures.store(0, std::memory_order_relaxed);
    // T5 relaxed store, no pair: a time.
    body.making.retry_ns.store(0, std::memory_order_relaxed);
    wake_for_place(pool);
}

void note_failed(PoolBody& body) noexcept {
    const CreationPolicy& policy = body.creation;
    if (policy.retry_after_ns == 0) return;
    // T6 relaxed RMW, no pair: a hint. kept: torn, it loses a count, and a delay is shorter.
    const std::uint64_t failures = body.making.failures.fetch_add(1, std::memory_order_relaxed) + 1;
    // T5 relaxed store, no pair: a time.
    body.making.retry_ns.store(clock_ns() + delay_ns(policy, failures), std::memory_order_relaxed);
}

}  // namespace lagoon::inline v1::detail
