// crew.hpp: numbered jobs, and worker processes that do each of them once, whoever is killed.
//
// Used by cluster_pool, redis_clusters and word_count.
#pragma once

#include <csignal>
#include <future>
#include <lagoon/lagoon.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

/// A part of an arena's struct. Each job has one word, which says open, done, or who has it: so it
/// is known what a killed worker had. The counter only says where to look first.
struct Jobs {
    lagoon::Counter next{"next"};
    lagoon::Counter finished{"finished"};
    lagoon::Array<int> state;

    static constexpr int open = 0;
    static constexpr int done = -1;
    static constexpr int taken_by(int worker) { return worker + 1; }

    explicit Jobs(lagoon::Count count) : state{"state", count} {}

    /// A job that is this worker's alone from now on; none when nothing is open.
    std::optional<std::size_t> take(int worker) {
        for (;;) {
            const auto job = static_cast<std::size_t>(next.add());
            if (job >= state.size()) break;
            if (claim(job, worker)) return job;
        }
        for (std::size_t job = 0; job < state.size(); ++job) {  // given back by resume
            if (claim(job, worker)) return job;
        }
        return std::nullopt;
    }

    void finish(std::size_t job) {
        state[job] = done;
        finished.add();
    }

    /// What the worker before this one, killed under the same number, had begun: open again,
    /// unless `was_done(job)`.
    template <class WasDone>
    void resume(int worker, WasDone was_done) {
        for (std::size_t job = 0; job < state.size(); ++job) {
            if (state[job] != taken_by(worker)) continue;
            if (was_done(job)) {
                finish(job);
            } else {
                state[job] = open;
            }
        }
    }

private:
    bool claim(std::size_t job, int worker) {
        int expected = open;
        return state[job].compare_exchange(expected, taken_by(worker));
    }
};

/// Runs `Work(arena, worker, args...)` in processes 0 to `workers` - 1, with another one in place
/// of each one that is killed. Returns how many were.
template <auto Work, class Root, class... Args>
int run_crew(const lagoon::Arena<Root>& arena, int workers, const Args&... args) {
    std::vector<std::future<int>> crew;
    for (int worker = 0; worker < workers; ++worker) {
        crew.push_back(std::async(std::launch::async, [&, worker] {
            for (int killed = 0;; ++killed) {
                auto process = lagoon::Process::spawn<Work>(arena, worker, args...);
                const lagoon::ExitStatus ended = process.join();
                if (ended.success()) return killed;
                if (ended.how == lagoon::Ended::signaled && ended.signal == SIGKILL) continue;
                throw std::runtime_error{"worker " + std::to_string(worker) + " " +
                                         to_string(ended)};
            }
        }));
    }
    int killed = 0;
    for (auto& member : crew) killed += member.get();
    return killed;
}
