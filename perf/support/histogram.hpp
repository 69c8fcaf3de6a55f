// histogram.hpp: how often an operation took how long, of any length, in one fixed piece of memory.
//
//   Shape      32 buckets per power of two: a value is kept within 3.2 %; plain words that one
//              participant writes between two barriers and another reads after them
//   Unit       nanoseconds
//   Source     the log-linear buckets of HdrHistogram (Gil Tene, 2012, hdrhistogram.org)
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace lagoon_perf {

class Histogram {
public:
    void add(std::uint64_t value_ns) {
        ++counts_[bucket_of(value_ns)];
        ++total_;
        max_ns_ = std::max(max_ns_, value_ns);
    }
    void add(const Histogram& other) {
        for (std::size_t i = 0; i < buckets; ++i) counts_[i] += other.counts_[i];
        total_ += other.total_;
        max_ns_ = std::max(max_ns_, other.max_ns_);
    }

    [[nodiscard]] std::uint64_t total() const { return total_; }
    [[nodiscard]] std::uint64_t max_ns() const { return max_ns_; }

    /// The upper end of the bucket in which that share of all values is reached.
    [[nodiscard]] std::uint64_t quantile_ns(double share) const {
        const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets; ++i) {
            seen += counts_[i];
            if (seen > wanted) return std::min(upper_end(i), max_ns_);
        }
        return max_ns_;
    }

    /// Calls `tell(upper end in ns, count)` for every bucket that is not empty.
    template <class Tell>
    void for_each(Tell&& tell) const {
        for (std::size_t i = 0; i < buckets; ++i) {
            if (counts_[i] != 0) tell(upper_end(i), counts_[i]);
        }
    }

private:
    static constexpr unsigned fine_bits = 5;
    static constexpr std::size_t buckets = std::size_t{40} << fine_bits;

    static std::size_t bucket_of(std::uint64_t value) {
        if (value < (1U << fine_bits)) return value;
        const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
        const unsigned shift = power - fine_bits;
        const std::size_t bucket = (std::size_t{shift} << fine_bits) + (value >> shift);
        return std::min(bucket, buckets - 1);
    }
    static std::uint64_t upper_end(std::size_t bucket) {
        if (bucket < (2U << fine_bits)) return bucket;
        const std::size_t shift = (bucket >> fine_bits) - 1;
        const std::uint64_t fine = bucket - (shift << fine_bits);
        return ((fine + 1) << shift) - 1;
    }

    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ns_ = 0;
};

}  // namespace lagoon_perf
