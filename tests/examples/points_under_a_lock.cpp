// points_under_a_lock.cpp: an array of points and two values that change together, although a
// process is killed half-way through a change.
//
//   points_under_a_lock [--moves N]
//
// Three workers move all points, one lock at a time. The second one is killed in the middle of a
// move: whoever locks next is told so and puts right what the dead one left.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <lagoon/lagoon.hpp>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Point {
    double x = 0;
    double y = 0;
};

struct Flock {
    lagoon::Lock lock{"lock"};  // of the three that follow: they change together
    lagoon::Array<Point> points{"points", {{0, 0}, {10, 0}, {0, 10}}};
    lagoon::Value<int> moves{"moves"};               // how often all points were moved
    lagoon::Value<double> sum_of_x{"sum_of_x", 10};  // of all points

    lagoon::Counter repairs{"repairs"};
};

constexpr Point step{1, 0.5};

/// Under the lock. `moves` changes last: before that, the move has not happened.
void move_all(Flock& flock, bool die_half_way = false) {
    for (Point& point : flock.points.span()) {
        point.x += step.x;
        point.y += step.y;
        flock.sum_of_x += step.x;
        if (die_half_way) std::raise(SIGKILL);
    }
    flock.moves += 1;
}

/// Under the lock: puts every point where `moves` says that it is, and the sum with them.
void repair(Flock& flock) {
    constexpr Point start[] = {{0, 0}, {10, 0}, {0, 10}};
    const int moves = flock.moves;
    double sum_of_x = 0;
    for (std::size_t i = 0; Point & point : flock.points.span()) {
        point = {start[i].x + moves * step.x, start[i].y + moves * step.y};
        sum_of_x += point.x;
        ++i;
    }
    flock.sum_of_x.store(sum_of_x);
    flock.repairs.add();
}

void work(Flock& flock, int moves, bool killed) {
    for (int i = 0; i < moves; ++i) {
        const std::lock_guard guard{flock.lock};
        if (flock.lock.owner_died()) {
            repair(flock);
            flock.lock.mark_clean();
        }
        move_all(flock, killed && i == moves / 2);
    }
}

}  // namespace

int main(int argc, char** argv) try {
    lagoon::run_if_worker(argc, argv);
    int moves = 1000;
    CLI::App options{"Moves points under a lock whose holder is killed."};
    options.add_option("--moves", moves, "per worker")->check(CLI::Range(2, 1'000'000));
    CLI11_PARSE(options, argc, argv);

    auto flock = lagoon::Arena<Flock>::create("points." + std::to_string(getpid()));
    std::vector<lagoon::Process> workers;
    for (const bool killed : {false, true, false}) {
        workers.push_back(lagoon::Process::spawn<work>(flock, moves, killed));
    }
    for (lagoon::Process& worker : workers) {
        std::cout << "a worker " << worker.join() << '\n';
    }

    const std::lock_guard guard{flock->lock};
    if (flock->lock.owner_died()) {  // when the killed one was the last to lock
        repair(*flock);
        flock->lock.mark_clean();
    }
    std::cout << "repairs: " << flock->repairs.load() << '\n'
              << "moves: " << flock->moves << ", sum_of_x: " << flock->sum_of_x << '\n'
              << "points:";
    for (const Point& point : flock->points.span()) {
        std::cout << " (" << point.x << ", " << point.y << ')';
    }
    std::cout << '\n';
} catch (const std::exception& error) {
    std::cerr << "points_under_a_lock: " << error.what() << '\n';
    return 1;
}
