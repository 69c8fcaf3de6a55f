// pool_times.cpp: histograms of how long things take in a pool.
//
//   killed                          leaves
//   before the count                a time that is not counted
#include "pool_times.hpp"

#include <algorithm>

namespace lagoon::inline v1::detail {

static_assert(time_buckets == Histogram::buckets);

namespace {

TimeWords& times_of(PoolBody& body) noexcept {
    auto* at = reinterpret_cast<std::byte*>(&body) + body.creation.times_at;
    return *reinterpret_cast<TimeWords*>(at);
}

BeganWord& began_of(PoolBody& body, std::uint64_t index) noexcept {
    return reinterpret_cast<BeganWord*>(&times_of(body) + 1)[index];
}

void add(PoolBody& body, Timed kind, std::uint64_t began, std::uint64_t now) noexcept {
    const std::size_t bucket = Histogram::bucket_of(now > began ? now - began : 0);
    count(times_of(body).counts[static_cast<std::size_t>(kind)][bucket]);
}

}  // namespace

std::uint64_t times_bytes(std::uint64_t capacity) noexcept {
    return sizeof(TimeWords) + capacity * sizeof(BeganWord);
}

const char* times_flaw(const PoolBody& body, std::uint64_t storage_bytes) noexcept {
    const std::uint64_t at = body.creation.times_at;
    if (at == 0) return nullptr;
    const LifePolicy& life = body.life;
    const bool fits = life.records_at != 0 && at % alignof(TimeWords) == 0 && at <= storage_bytes &&
                      at >= life.records_at + body.capacity * sizeof(LifeRecord) &&
                      times_bytes(body.capacity) <= storage_bytes - at;
    return fits ? nullptr : "the place of its histograms";
}

void note_began(PoolBody& body, std::uint64_t index, std::uint64_t now) noexcept {
    note(began_of(body, index), now);
}

void count_time(PoolBody& body, Timed kind, std::uint64_t index, std::uint64_t now) noexcept {
    if (is_measured(body)) add(body, kind, noted(began_of(body, index)), now);
}

void WaitClock::count() const noexcept {
    if (began_ns_ != 0) add(body_, Timed::waited, began_ns_, clock_ns());
}

PoolTimes pool_times(const PoolObject& pool) {
    PoolTimes all;
    PoolBody& body = body_of(pool);
    if (!is_measured(body)) return all;
    const auto copy = [&](Timed kind, Histogram& into) {
        const auto& counts = times_of(body).counts[static_cast<std::size_t>(kind)];
        std::ranges::transform(counts, into.counts.begin(),
                               [](const auto& one) { return read(one); });
    };
    copy(Timed::waited, all.waited);
    copy(Timed::held, all.held);
    copy(Timed::made, all.made);
    return all;
}

}  // namespace lagoon::inline v1::detail
