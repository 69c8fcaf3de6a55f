// pool_policy.cpp: what a pool is told of its resources' lives, and what a file may say of it.
#include <array>
#include <limits>
#include <string>
#include <utility>

#include <lagoon/error.hpp>

#include "pool_clock.hpp"
#include "pool_life.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t longest_ns = std::numeric_limits<std::int64_t>::max();
constexpr std::uint32_t all_ppb = 1'000'000'000;

[[noreturn]] void refuse(const char* pool, const std::string& what) {
    throw Error{Errc::invalid_argument, std::string{"pool '"} + pool + "' has a " + what};
}

}  // namespace

void require_life(const char* pool, const PoolOptions& options) {
    const PoolLife& life = options.life;
    const std::array<std::pair<const char*, std::chrono::nanoseconds>, 4> durations{
        {{"max_lifetime", life.max_lifetime},
         {"idle_timeout", life.idle_timeout},
         {"validate_after", life.validate_after.value_or(std::chrono::nanoseconds{0})},
         {"lease_limit", life.lease_limit}}};
    for (const auto& [name, duration] : durations) {
        if (duration.count() >= 0) continue;
        refuse(pool, std::string{name} + " of " + std::to_string(duration.count()) +
                         " ns; it can be 0 or more");
    }
    if (!(life.lifetime_jitter >= 0 && life.lifetime_jitter <= 1)) {
        refuse(pool, "lifetime_jitter of " + std::to_string(life.lifetime_jitter) +
                         "; it can be from 0 to 1");
    }
    if (life.min_size > options.capacity) {
        refuse(pool, "min_size of " + std::to_string(life.min_size.value) +
                         "; it can be up to the capacity, " +
                         std::to_string(options.capacity.value));
    }
    if (life.order != LendOrder::lifo && life.order != LendOrder::fifo) {
        refuse(pool, "order of " + std::to_string(static_cast<std::uint32_t>(life.order)) +
                         "; it can be LendOrder::lifo or LendOrder::fifo");
    }
}

void require_quarantine(const char* pool, const PoolOptions& options) {
    if (options.quarantine_after <= meta::most_deaths) return;
    refuse(pool, "quarantine_after of " + std::to_string(options.quarantine_after) +
                     "; it can be up to " + std::to_string(meta::most_deaths) + ", 0 means never");
}

void require_wait_order(const char* pool, const PoolOptions& options) {
    if (options.wait_order <= WaitOrder::first_come) return;
    refuse(pool, "wait_order of " + std::to_string(static_cast<std::uint32_t>(options.wait_order)) +
                     "; it can be WaitOrder::any or WaitOrder::first_come");
}

bool wants_life(const PoolLife& life) noexcept {
    return life.max_lifetime.count() != 0 || life.max_uses != 0 || life.idle_timeout.count() != 0 ||
           life.validate_after.has_value() || life.max_failures != 0 ||
           life.order != LendOrder::lifo || life.lease_limit.count() != 0 || life.measure;
}

void write_life(PoolBody& body, const PoolLife& life, std::uint64_t records_at) noexcept {
    if (!wants_life(life)) return;
    LifePolicy& into = body.life;
    into.records_at = records_at;
    into.max_lifetime_ns = nanoseconds_of(life.max_lifetime);
    into.idle_timeout_ns = nanoseconds_of(life.idle_timeout);
    into.lease_limit_ns = nanoseconds_of(life.lease_limit);
    into.min_size = static_cast<std::uint32_t>(life.min_size);
    into.validates = life.validate_after ? 1 : 0;
    into.validate_after_ns = nanoseconds_of(life.validate_after.value_or(std::chrono::seconds{0}));
    into.jitter_ppb = static_cast<std::uint32_t>(life.lifetime_jitter * all_ppb);
    into.max_uses = life.max_uses;
    into.max_failures = life.max_failures;
    into.order = static_cast<std::uint32_t>(life.order);
}

const char* life_flaw(const PoolBody& body, std::uint64_t storage_bytes) noexcept {
    const LifePolicy& life = body.life;
    const std::uint64_t numbers = life.max_lifetime_ns | life.idle_timeout_ns | life.min_size |
                                  life.validate_after_ns | life.validates | life.jitter_ppb |
                                  life.max_uses | life.max_failures | life.order |
                                  life.lease_limit_ns;
    const bool known = life.max_lifetime_ns <= longest_ns && life.idle_timeout_ns <= longest_ns &&
                       life.validate_after_ns <= longest_ns && life.lease_limit_ns <= longest_ns &&
                       life.min_size <= body.capacity && life.validates <= 1 &&
                       life.jitter_ppb <= all_ppb && life.order <= 1;
    if (!known || (life.records_at == 0 && numbers != 0)) {
        return "its life policy";
    }
    if (life.records_at == 0) return nullptr;
    const std::uint64_t records = body.capacity * sizeof(LifeRecord);
    if (life.records_at % alignof(LifeRecord) != 0 || life.records_at > storage_bytes ||
        life.records_at < body.slots_at + body.capacity * body.stride ||
        records > storage_bytes - life.records_at) {
        return "the place of its records";
    }
    return nullptr;
}

}  // namespace lagoon::inline v1::detail
