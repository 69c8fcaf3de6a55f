// cluster_pool.cpp: jobs on worker processes that share clusters, which are expensive to create
// and therefore created on demand, kept and used again.
//
//   cluster_pool [--job-seconds S] [--workers N] [--jobs N] [--kill-one]
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <bit>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>

#include "crew.hpp"

namespace {

struct Cluster {
    lagoon::String<5> name;
    std::int64_t jobs_run = 0;
};

/// What all processes share.
struct Clusters {
    lagoon::Pool<Cluster> pool{"pool", {.capacity = 3}};
    lagoon::Counter shut_down{"shut_down"};  // clusters that destroy was called for

    lagoon::Group<Jobs> jobs;
    lagoon::Lock finishing{"finishing"};        // keeps lines and order in step
    lagoon::Array<std::size_t> order;           // finished jobs, plus 1
    lagoon::Value<std::uint64_t> here{"here"};  // a bit per worker: the barrier
    lagoon::Counter kills{"kills"};             // how many workers still have to die

    explicit Clusters(lagoon::Count count = 9) : jobs{"jobs", count}, order{"order", count} {}
};

Cluster make_cluster() {
    std::random_device random;
    std::string name(5, ' ');
    for (char& letter : name) {
        letter = static_cast<char>('a' + std::uniform_int_distribution{0, 25}(random));
    }
    return {.name = name};
}

/// Owns the arena in the process that made it; the workers make their own from the same arena.
class ClusterPool {
public:
    ClusterPool(const std::string& name, std::size_t jobs)
        : ClusterPool{lagoon::Arena<Clusters>::create(name, {}, jobs)} {}

    explicit ClusterPool(lagoon::Arena<Clusters> arena) : arena_{std::move(arena)} {
        arena_.hooks(&Clusters::pool,
                     {.destroy = [&clusters = *arena_](Cluster&) { clusters.shut_down.add(); }});
    }
    ClusterPool(const ClusterPool&) = delete;
    ClusterPool& operator=(const ClusterPool&) = delete;
    /// Whoever made the arena shuts every cluster down.
    ~ClusterPool() {
        if (arena_.created()) arena_.shut_down();
    }

    /// One that is idle, or a new one; waits while all are lent and there can be no more.
    lagoon::Lease<Cluster> pop_or_create_cluster() {
        return arena_->pool.acquire_or_create(make_cluster, lagoon::worker_stop_token());
    }

    [[nodiscard]] const lagoon::Arena<Clusters>& arena() const { return arena_; }

private:
    lagoon::Arena<Clusters> arena_;
};

/// Waits until every worker is here. A worker that takes a dead one's place has the same bit.
void wait_for_all(Clusters& clusters, int worker, int workers) {
    clusters.here.fetch_or(std::uint64_t{1} << worker);
    clusters.here.wait([&](std::uint64_t here) { return std::popcount(here) == workers; },
                       lagoon::worker_stop_token());
}

bool is_finished(Clusters& clusters, std::size_t job) {
    for (const std::size_t finished : clusters.order.snapshot()) {
        if (finished == job + 1) return true;
    }
    return false;
}

/// Puts the job into the order and prints its line, both in one order.
void finish(Clusters& clusters, std::size_t job, const Cluster& cluster) {
    const std::string line = "job finished. num: " + std::to_string(job) +
                             ", squared_num: " + std::to_string(job * job) +
                             ", pid: " + std::to_string(getpid()) +
                             ", cluster_name: " + cluster.name.str() + "\n";
    const std::lock_guard guard{clusters.finishing};
    std::size_t place = 0;
    while (clusters.order[place] != 0) ++place;
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) throw std::runtime_error{"no output"};
    clusters.order[place] = job + 1;  // one word: a worker killed before it has not finished
}

/// False when there is no point in going on: the parent is dead.
bool run_job(ClusterPool& pool, std::size_t job, double seconds) {
    Clusters& clusters = *pool.arena();
    auto cluster = pool.pop_or_create_cluster();
    if (!cluster) return false;
    cluster->jobs_run += 1;
    if (clusters.kills.exchange(0) != 0) std::raise(SIGKILL);
    std::this_thread::sleep_for(std::chrono::duration<double>{seconds});
    finish(clusters, job, *cluster);
    return true;
}

/// A worker process.
void work(lagoon::Arena<Clusters> arena, int worker, int workers, double job_seconds) {
    ClusterPool pool{std::move(arena)};
    Clusters& clusters = *pool.arena();
    clusters.jobs.resume(worker, [&](std::size_t job) { return is_finished(clusters, job); });
    auto job = clusters.jobs.take(worker);  // before the barrier: everybody gets one
    wait_for_all(clusters, worker, workers);
    while (job && run_job(pool, *job, job_seconds)) {
        clusters.jobs.finish(*job);
        job = clusters.jobs.take(worker);
    }
}

void print_squares(const Clusters& clusters) {
    std::cout << "squared_nums: [";
    const char* separator = "";
    for (const std::size_t finished : clusters.order.snapshot()) {
        std::cout << separator << (finished - 1) * (finished - 1);
        separator = ", ";
    }
    std::cout << "]\n";
}

}  // namespace

int main(int argc, char** argv) try {
    lagoon::run_if_worker(argc, argv);
    double job_seconds = 1;
    int workers = 3;
    std::size_t jobs = 9;
    bool kill_one = false;
    CLI::App options{"Runs jobs on worker processes that share a pool of clusters."};
    options.add_option("--job-seconds", job_seconds, "per job")->check(CLI::Range(0.0, 1e6));
    options.add_option("--workers", workers, "processes")->check(CLI::Range(1, 64));
    options.add_option("--jobs", jobs, "to run")->check(CLI::Range(1, 10'000));
    options.add_flag("--kill-one", kill_one, "kill a worker in the middle of a job");
    CLI11_PARSE(options, argc, argv);

    lagoon::Arena<Clusters> clusters;  // a second handle, to look at the arena afterwards
    lagoon::PoolStats did;
    {
        ClusterPool pool{"cluster_pool." + std::to_string(getpid()), jobs};
        clusters = pool.arena();
        clusters->kills.add(kill_one ? 1 : 0);
        const int killed = run_crew<work>(pool.arena(), workers, workers, job_seconds);
        print_squares(*clusters);
        if (killed != 0) std::cout << "workers killed: " << killed << '\n';
        did = clusters->pool.stats();
    }
    std::cout << "clusters: " << did.created << " created, " << did.reused() << " reused, "
              << did.recovered << " recovered, " << did.waits << " waited, "
              << clusters->shut_down.load() << " shut down\n";
} catch (const std::exception& error) {
    std::cerr << "cluster_pool: " << error.what() << '\n';
    return 1;
}
