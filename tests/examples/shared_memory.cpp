// shared_memory.cpp: numbers squared by several processes into one array and one counter.
//
//   shared_memory [--workers N]
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <lagoon/lagoon.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Squares {  // every process that attaches compiles this struct
    lagoon::Array<int> nums{"nums", {0, 1, 2, 3, 4, 5}};
    lagoon::Array<int> squared_nums{"squared_nums", 6};
    lagoon::Counter total{"total"};
};

/// Runs in a process of its own: every `workers`-th number is this worker's.
void square(Squares& squares, std::size_t worker, std::size_t workers) {
    for (std::size_t i = worker; i < squares.nums.size(); i += workers) {
        const int squared = squares.nums[i] * squares.nums[i];
        squares.squared_nums[i] = squared;
        squares.total.add(squared);
    }
}

}  // namespace

int main(int argc, char** argv) try {
    lagoon::run_if_worker(argc, argv);  // the first line of main
    std::size_t workers = 6;
    CLI::App options{"Squares six numbers in processes that share an array and a counter."};
    options.add_option("--workers", workers, "processes")->check(CLI::Range(1, 64));
    CLI11_PARSE(options, argc, argv);

    auto squares = lagoon::Arena<Squares>::create("squares." + std::to_string(getpid()));
    std::vector<lagoon::Process> processes;
    for (std::size_t worker = 0; worker < workers; ++worker) {
        processes.push_back(lagoon::Process::spawn<square>(squares, worker, workers));
    }
    for (lagoon::Process& process : processes) {
        const lagoon::ExitStatus ended = process.join();
        if (!ended.success()) throw std::runtime_error{"a worker " + to_string(ended)};
    }

    std::cout << "squared_nums: [";
    const char* separator = "";
    for (const int squared : squares->squared_nums.snapshot()) {
        std::cout << separator << squared;
        separator = ", ";
    }
    std::cout << "]\nsquared_nums_total: " << squares->total.load() << '\n';
} catch (const std::exception& error) {
    std::cerr << "shared_memory: " << error.what() << '\n';
    return 1;
}
