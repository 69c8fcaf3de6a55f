// stage.hpp: the shared memory and the processes of one suite of benchmarks.
//
//   Shape      one anonymous shared memory file, mapped by every participant; participant 0 builds
//              everything in it, the others run the same code and find it at the same offsets
//   Progress   a barrier that spins, then yields, then sleeps, so that who has nothing to do leaves
//              its CPU to the others; it gives up when a participant has died
//   Errors     std::runtime_error and std::system_error; a suite that throws has no result
//   Death      the file has no name and the helpers die with their parent, so nothing stays behind
//   Edges      B1 -> B1    carries a participant's writes to the last of its phase to arrive
//              B3 -> B4    carries them on to everybody who waited
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <lagoon/detail/atomic.hpp>

namespace lagoon_perf {

constexpr unsigned max_participants = 64;

/// When one participant was in the timed part, and what it could not do.
struct Interval {
    long long begin_ns = 0;
    long long end_ns = 0;
    std::uint64_t misses = 0;
    double per_operation_ns = 0;  // not 0: the case has timed each operation; this is the median
};

/// Where some or all participants wait for each other.
struct Barrier {
    alignas(64) lagoon::detail::Atomic<std::uint32_t> arrived{0};
    alignas(64) lagoon::detail::Atomic<std::uint32_t> phase{0};
};

/// The first page of the shared file.
struct alignas(64) Control {
    Barrier all;
    Barrier some;
    // Plain fields: written before a barrier, read after it.
    alignas(64) std::uint32_t next_case = 0;
    std::uint64_t operations = 0;
    Interval intervals[max_participants] = {};
};

/// How a suite is staged; the helpers get the same values on their command line.
struct StageOptions {
    unsigned participant = 0;
    unsigned participants = 1;
    int cpu = -1;        // -1: not pinned
    int file = -1;       // the shared file in a helper; participant 0 makes it
    std::string run_id;  // part of every name this run makes
    bool quick = false;
    std::vector<int> cpus = {};  // of the participants, in participant 0; empty: not pinned
    bool shares_cpu = false;     // all participants are pinned to one CPU
};

class Stage {
public:
    explicit Stage(const StageOptions& options);
    ~Stage();
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    [[nodiscard]] bool is_creator() const { return options_.participant == 0; }
    [[nodiscard]] unsigned participant() const { return options_.participant; }
    [[nodiscard]] unsigned participants() const { return options_.participants; }
    [[nodiscard]] bool quick() const { return options_.quick; }
    [[nodiscard]] bool shares_cpu() const { return options_.shares_cpu; }

    /// Where participant `n` is pinned to; -1: nowhere. In participant 0 alone.
    [[nodiscard]] int cpu_of(unsigned n) const {
        return options_.cpus.empty() ? -1 : options_.cpus[n % options_.cpus.size()];
    }
    [[nodiscard]] std::byte* base() const { return base_; }
    [[nodiscard]] static std::size_t size_bytes();

    /// What participant 0 says, in every participant: all have to build the same list of cases.
    [[nodiscard]] bool as_creator_says(bool mine) {
        bool& said = place<bool>(mine);
        return said;
    }

    /// A name of this run alone, the same in every participant when asked in the same order.
    [[nodiscard]] std::string next_name();

    /// The next T of the shared file: built here by participant 0, found by the others.
    template <class T, class... Args>
    T& place(const Args&... args) {
        void* where = reserve(sizeof(T), alignof(T));
        if (is_creator()) return *new (where) T(args...);
        return *std::launder(static_cast<T*>(where));
    }

    /// The next `count` elements of the shared file, all zero bytes until somebody writes them.
    template <class T>
    T* array(std::size_t count) {
        return static_cast<T*>(reserve(sizeof(T) * count, alignof(T)));
    }

    /// In participant 0, starts the helpers: this very program with the given arguments and
    /// `--participant K`.
    void start_helpers(std::vector<std::string> arguments, const std::vector<int>& cpus);

    /// Waits for the helpers' end; throws when one did not end well.
    void join_helpers();

    /// Everybody waits for everybody.
    void meet();

    /// The next `meet` sleeps at once: this participant has no part in the case.
    Interval sit_out() {
        sitting_out_ = true;
        return {};
    }

    /// Runs `work` between two barriers and tells when it ran.
    template <class Work>
    Interval timed(Work&& work) {
        return timed_among(participants(), work);
    }

    /// As `timed`, for the first `active` participants; the others sit out.
    template <class Work>
    Interval timed_among(unsigned active, Work&& work) {
        if (participant() >= active) return sit_out();
        Interval interval;
        meet_at(control_->some, active);
        interval.begin_ns = clock_ns();
        interval.misses = work();
        interval.end_ns = clock_ns();
        meet_at(control_->some, active);
        return interval;
    }

    [[nodiscard]] Control& control() { return *control_; }

private:
    [[nodiscard]] void* reserve(std::size_t size_bytes, std::size_t alignment_bytes);
    [[nodiscard]] static long long clock_ns();
    void meet_at(Barrier& barrier, unsigned count);
    void check_alive();

    StageOptions options_;
    std::byte* base_ = nullptr;
    std::size_t used_bytes_ = 0;
    unsigned names_ = 0;
    int spins_ = 0;   // before a barrier yields
    int yields_ = 0;  // before it sleeps
    bool sitting_out_ = false;
    Control* control_ = nullptr;
    std::vector<int> helpers_;  // process ids
};

}  // namespace lagoon_perf
