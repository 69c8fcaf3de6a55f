// arena_perf.cpp: making, opening and closing an arena, beside bare named shared memory of the
// same size; and the bytes that things take in an arena.
//
// `create` is timed without the closing and removing that make room for the next; `open` and
// `close` are timed in a process that has no other handle on the arena, while another one holds
// it. The bare calls promise nothing: no member, no check, no proof of death.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include <lagoon/arena.hpp>
#include <lagoon/array.hpp>
#include <lagoon/counter.hpp>
#include <lagoon/pool.hpp>

#include "peers/bare_shm.hpp"
#include "support/environment.hpp"
#include "support/harness.hpp"
#include "support/stage.hpp"

namespace lagoon_perf {
namespace {

struct NumbersArena {
    explicit NumbersArena(lagoon::Count count) : numbers{"numbers", count} {}
    lagoon::Counter counter{"counter"};
    lagoon::Array<std::int64_t> numbers;
};
using Numbers = lagoon::Arena<NumbersArena>;

struct CounterArena {
    lagoon::Counter counter{"counter"};
};

/// Adds up the time of the parts that count.
class Stopwatch {
public:
    template <class Part>
    decltype(auto) time(Part&& part) {
        struct Add {
            long long& total;
            long long begin = now_ns();
            ~Add() { total += now_ns() - begin; }
        } add{total_};
        return part();
    }
    [[nodiscard]] long long total_ns() const { return total_; }

private:
    long long total_ = 0;
};

/// A case whose `step(stopwatch)` decides which part of it is timed; `acting` alone does it.
template <class Step>
Case stepped(Stage& stage, const std::string& subject, const std::string& pattern, unsigned acting,
             Step step) {
    return {subject, pattern, [&stage, acting, step](std::uint64_t operations) {
                const bool acts = stage.participant() == acting;
                Stopwatch watch;
                Interval interval = stage.timed([&] {
                    for (std::uint64_t n = 0; acts && n < operations; ++n) step(watch);
                    return std::uint64_t{0};
                });
                if (!acts) return Interval{};
                interval.end_ns = interval.begin_ns + std::max(watch.total_ns(), 1LL);
                return interval;
            }};
}

struct Size {
    const char* label;
    std::uint64_t numbers;
};
constexpr std::array<Size, 2> sizes{{{"small", 8}, {"16 MiB", 2'000'000}}};

std::uint64_t bytes_of(const std::string& name, const Size& size) {
    return Numbers::create(name, {}, lagoon::Count{size.numbers}).bytes();
}

void build_create(Stage& stage, Plan& plan) {
    for (const Size& size : sizes) {
        const std::string name = stage.next_name();
        const std::uint64_t bytes = bytes_of(name, size);
        const std::string pattern = std::string("create, ") + size.label;
        plan.cases.push_back(
            stepped(stage, "lagoon::Arena", pattern, 0, [name, size](Stopwatch& watch) {
                Numbers arena = watch.time(
                    [&] { return Numbers::create(name, {}, lagoon::Count{size.numbers}); });
                arena.close();
            }));
        for (const bool reserved : {false, true}) {
            plan.cases.push_back(
                stepped(stage, reserved ? "bare shm_open, fallocate, mmap" : "bare shm_open, mmap",
                        pattern, 0, [name, bytes, reserved](Stopwatch& watch) {
                            const std::string file = "/" + name + ".bare";
                            const auto shm = watch.time(
                                [&] { return std::make_unique<BareShm>(file, bytes, reserved); });
                            shm_unlink(file.c_str());
                        }));
        }
        plan.compare_all_to(pattern, "bare shm_open, fallocate, mmap");
    }
}

/// What participant 0 keeps open while participant 1 opens and closes it.
struct Kept {
    Numbers arena;
    std::unique_ptr<BareShm> bare;
    std::string bare_name;
    ~Kept() {
        if (bare) shm_unlink(bare_name.c_str());
    }
};

void build_open(Stage& stage, Plan& plan) {
    for (const Size& size : sizes) {
        const std::string name = stage.next_name();
        const auto kept = std::make_shared<Kept>();
        const std::string file = "/" + name + ".bare";
        if (stage.is_creator()) {
            kept->arena = Numbers::create(name, {}, lagoon::Count{size.numbers});
            kept->bare = std::make_unique<BareShm>(file, kept->arena.bytes(), true);
            kept->bare_name = file;
        }
        for (const bool opening : {true, false}) {
            const std::string pattern = std::string(opening ? "open, " : "close, ") + size.label;
            plan.cases.push_back(stepped(
                stage, "lagoon::Arena", pattern, 1, [name, size, opening, kept](Stopwatch& watch) {
                    const auto open = [&] {
                        return Numbers::open(name, lagoon::Count{size.numbers});
                    };
                    Numbers arena = opening ? watch.time(open) : open();
                    const auto close = [&] { arena.close(); };
                    opening ? close() : watch.time(close);
                }));
            plan.cases.push_back(stepped(
                stage, "bare shm_open, mmap", pattern, 1, [file, opening](Stopwatch& watch) {
                    const auto open = [&] { return std::make_unique<BareShm>(file, 0, false); };
                    const auto shm = opening ? watch.time(open) : open();
                    const auto close = [&] { shm->close(); };
                    opening ? close() : watch.time(close);
                }));
            plan.compare_all_to(pattern, "bare shm_open, mmap");
        }
    }
}

template <std::size_t value_bytes>
struct Blob {
    std::array<std::uint64_t, value_bytes / 8> words;
};

template <std::size_t value_bytes>
struct SlotsArena {
    SlotsArena(lagoon::Count capacity, bool dense)
        : slots{"slots", {.capacity = capacity, .dense = dense}} {}
    lagoon::Pool<Blob<value_bytes>> slots;
};

constexpr double cache_line_bytes = 64;

/// Bytes per slot beyond the value rounded up to `rounded_bytes`, from two arenas' difference.
template <std::size_t value_bytes>
double slot_overhead(const std::string& name, bool dense, double rounded_bytes) {
    using Slots = lagoon::Arena<SlotsArena<value_bytes>>;
    constexpr std::uint64_t few = 1'000;
    constexpr std::uint64_t many = 65'000;
    const auto bytes = [&](std::uint64_t capacity) {
        return static_cast<double>(Slots::create(name, {}, lagoon::Count{capacity}, dense).bytes());
    };
    return (bytes(many) - bytes(few)) / static_cast<double>(many - few) - rounded_bytes;
}

std::vector<Fact> sizes_in_arena(const std::string& run_id, bool) {
    const std::string name = "perf." + run_id + ".facts";
    const auto bytes = [&](std::uint64_t processes, std::uint64_t threads) {
        lagoon::ArenaOptions options;
        options.max_processes = processes;
        options.max_threads = threads;
        return static_cast<double>(lagoon::Arena<CounterArena>::create(name, options).bytes());
    };
    const lagoon::ArenaOptions usual;
    const double plain =
        static_cast<double>(lagoon::Arena<CounterArena>::create(name, usual).bytes());
    // Rounded to pages, so differences are taken over many.
    const double lane = (bytes(64, 832) - bytes(64, 64)) / 768;
    const double member = (bytes(832, 64) - bytes(64, 64)) / 768;
    return {
        {"arena with one Counter, default options", plain, "bytes"},
        {"one more thread (a lane)", lane, "bytes"},
        {"one more process (a member with its shared lane)", member, "bytes"},
        {"slot of 8 bytes, beyond one cache line", slot_overhead<8>(name, false, 64), "bytes",
         cache_line_bytes},
        {"slot of 64 bytes, beyond one cache line", slot_overhead<64>(name, false, 64), "bytes",
         cache_line_bytes},
        {"slot of 200 bytes, beyond four cache lines", slot_overhead<200>(name, false, 256),
         "bytes", cache_line_bytes},
        {"dense slot of 8 bytes, beyond the value", slot_overhead<8>(name, true, 8), "bytes", 16},
        {"dense slot of 200 bytes, beyond the value", slot_overhead<200>(name, true, 200), "bytes",
         16},
    };
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "arena_perf",
                        .suites = {{"create", 1, build_create}, {"open", 2, build_open}},
                        .facts = sizes_in_arena},
                       argc, argv);
}
