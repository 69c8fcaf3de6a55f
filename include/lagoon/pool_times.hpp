// pool_times.hpp: how long a pool's resources are waited for, held and made.
//
//   Shape      plain data, as copied by Pool::times(): 192 counts of each kind, four to a doubling
//   Unit       nanoseconds of CLOCK_MONOTONIC; the last bucket has all from 137 hours on
//   Progress   where PoolLife::measure is set: that of a pool with a PoolLife, and for each time a
//              look at the clock and one fetch-and-add
//   Errors     none; all zeroes where it is not set
//   Death      what it was at is not counted
//   Source     the buckets of HdrHistogram, by G. Tene, with two bits below the leading one
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lagoon::inline v1 {

/// Counts of durations. From 4 ns on a bucket is at most a quarter as wide as what it begins with.
class Histogram {
public:
    static constexpr std::size_t buckets = 192;

    /// The bucket of a duration, and the longest one that belongs there.
    [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
        if (ns < 4) return ns;
        const auto octave = static_cast<unsigned>(std::bit_width(ns)) - 1;
        const std::size_t bucket = (octave - 1) * 4 + (ns >> (octave - 2) & 3);
        return bucket < buckets ? bucket : buckets - 1;
    }
    [[nodiscard]] static constexpr std::uint64_t upper_end_ns(std::size_t bucket) noexcept {
        constexpr auto longest =
            static_cast<std::uint64_t>(std::chrono::nanoseconds::max().count());
        const std::size_t next = bucket + 1;
        if (next >= buckets) return longest;
        return (next < 4 ? next : (4 + next % 4) << (next / 4 - 1)) - 1;
    }

    /// How many there are of each bucket.
    std::array<std::uint64_t, buckets> counts{};

    [[nodiscard]] constexpr std::uint64_t count() const noexcept {
        std::uint64_t sum = 0;
        for (const std::uint64_t one : counts) sum += one;
        return sum;
    }
    /// So large a share of them, from 0 to 1, took no longer: the upper end of a bucket, the last
    /// one's that has any for more; 0 where there are none.
    [[nodiscard]] constexpr std::chrono::nanoseconds quantile(double share) const noexcept {
        const auto all = static_cast<double>(count());
        double seen = 0;
        std::uint64_t end_ns = 0;
        for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
            if (counts[bucket] == 0) continue;
            seen += static_cast<double>(counts[bucket]);
            end_ns = upper_end_ns(bucket);
            if (seen >= share * all) break;
        }
        return std::chrono::nanoseconds{end_ns};
    }
};

/// Since the arena was made.
struct PoolTimes {
    /// By acquisitions that may wait, the try_ forms left out, until they had a resource or a place
    /// to make one.
    Histogram waited;
    Histogram held;  ///< by leases that were given back
    Histogram made;  ///< by factories, with on_create
};

}  // namespace lagoon::inline v1
