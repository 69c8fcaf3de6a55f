// mark_available.cpp: the other classical design of a pool: lock it, find a resource whose flag
// says available, mark it as taken, unlock; use it; mark it as available again.
//
//   mark_available [--workers N] [--jobs N]
//
// Here the flag is the state of a slot, and acquire() finds an idle one and marks it as leased in
// one instruction, so that there is no lock to be killed under, and a dead holder's mark is undone.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <lagoon/lagoon.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct Cluster {
    lagoon::String<16> name;
    lagoon::String<32> note;    // left by one holder for the next
    std::int64_t jobs_run = 0;  // a plain integer: only the holder touches it
    std::int32_t last_pid = 0;
    std::int64_t handed_over = 0;  // between different processes
};

struct Clusters {
    lagoon::Pool<Cluster> pool{"pool", {.capacity = 3}};

    void on_create() {
        for (const char* name : {"east", "north", "west"}) {
            pool.add({.name = name, .note = "new"});
        }
    }
};

void print_states(Clusters& clusters) {
    for (const auto& slot : clusters.pool.snapshot()) {
        if (slot.state == lagoon::SlotStatus::idle) {
            std::cout << "slot " << slot.index << ": available, " << slot.value->name << '\n';
        } else {
            std::cout << "slot " << slot.index << ": taken by pid " << slot.owner_pid << '\n';
        }
    }
}

/// Reads what the holder before has left, and leaves something for the next.
void leave_a_note(Clusters& clusters) {
    auto cluster = clusters.pool.acquire();
    std::cout << cluster->name << " says: " << cluster->note << std::endl;
    cluster->note = "pid " + std::to_string(getpid()) + " was here";
}

void work(Clusters& clusters, int jobs) {
    for (int job = 0; job < jobs; ++job) {
        auto cluster = clusters.pool.acquire();  // find one that is available, and mark it
        cluster->jobs_run += 1;                  // in place: the next holder sees it
        if (cluster->last_pid != getpid()) cluster->handed_over += 1;
        cluster->last_pid = getpid();
        std::this_thread::sleep_for(50us);  // the job: somebody else is waiting by now
    }                                       // marked as available again
}

void require_success(lagoon::Process process) {
    const lagoon::ExitStatus ended = process.join();
    if (!ended.success()) throw std::runtime_error{"a worker " + to_string(ended)};
}

}  // namespace

int main(int argc, char** argv) try {
    lagoon::run_if_worker(argc, argv);
    int workers = 4;
    int jobs = 500;
    CLI::App options{"Takes clusters that are marked as available."};
    options.add_option("--workers", workers, "processes")->check(CLI::Range(1, 64));
    options.add_option("--jobs", jobs, "of each worker")->check(CLI::Range(1, 10'000'000));
    CLI11_PARSE(options, argc, argv);

    auto clusters = lagoon::Arena<Clusters>::create("mark." + std::to_string(getpid()));
    {
        // Two of three are marked as taken, so that everybody finds the same one.
        auto taken = clusters->pool.acquire_n(2);
        print_states(*clusters);
        leave_a_note(*clusters);
        require_success(lagoon::Process::spawn<leave_a_note>(clusters));
        require_success(lagoon::Process::spawn<leave_a_note>(clusters));
        leave_a_note(*clusters);
    }

    std::vector<lagoon::Process> processes;
    for (int worker = 0; worker < workers; ++worker) {
        processes.push_back(lagoon::Process::spawn<work>(clusters, jobs));
    }
    for (auto& process : processes) require_success(std::move(process));

    // Every change was made by a plain ++ and none was lost: each holder saw the one before.
    std::int64_t jobs_run = 0;
    for (const auto& slot : clusters->pool.snapshot()) {
        std::cout << slot.value->name << ": " << slot.value->jobs_run << " jobs, handed over "
                  << slot.value->handed_over << " times\n";
        jobs_run += slot.value->jobs_run;
    }
    std::cout << "jobs_run: " << jobs_run << " of " << std::int64_t{workers} * jobs << '\n';
    return jobs_run == std::int64_t{workers} * jobs ? 0 : 1;
} catch (const std::exception& error) {
    std::cerr << "mark_available: " << error.what() << '\n';
    return 1;
}
