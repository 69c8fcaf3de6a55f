// redis_clusters.cpp: a pool of real servers, shared by worker processes. Both are killed.
//
//   redis_clusters [--workers N] [--jobs N] [--max-lifetime MS] [--no-kills]
//
// Each cluster is a redis-server. Where it is to be found is written into the slot first, and the
// server is started second: whoever cleans up after a builder that died in between, or before the
// server answered, knows what to look for. A server that has been idle for a while is asked whether
// it still answers before it is lent; one that goes in the middle of a job is marked broken.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>

#include "crew.hpp"
#include "redis_server.hpp"

namespace {

struct Cluster {
    lagoon::String<107> socket;  // as long as the kernel allows
    std::int64_t jobs_run = 0;
};

/// Where workers are killed.
enum Place : std::size_t { path_is_written, server_is_started, in_a_job };

/// What all processes share.
struct Clusters {
    lagoon::Pool<Cluster> pool;
    lagoon::Group<Jobs> jobs;
    lagoon::Array<std::int64_t> squares;
    lagoon::Array<int> kills{"kills", 3};  // how many workers still have to die there
    lagoon::Counter stopped{"stopped"};    // clusters that destroy was called for

    // The check hook says whether a dead worker's server is good: no need to count its deaths.
    explicit Clusters(lagoon::Count count = 9, std::int64_t lifetime_ms = 0)
        : pool{"pool",
               {.capacity = 2,
                .quarantine_after = 0,
                .life = {.max_lifetime = std::chrono::milliseconds{lifetime_ms},
                         .lifetime_jitter = 0.25,
                         .validate_after = std::chrono::milliseconds{100}},
                // When no server can be started, nobody tries again at once, and then one does.
                .creation = {.retry_after = std::chrono::milliseconds{20},
                             .retry_at_most = std::chrono::seconds{1}}}},
          jobs{"jobs", count},
          squares{"squares", count} {}
};

void die_if_wanted(Clusters& clusters, Place place) {
    if (clusters.kills[place].update([](int left) { return left > 0 ? left - 1 : 0; }) > 0) {
        std::raise(SIGKILL);
    }
}

/// The pool with what it takes to make, check and end a server. Every process has its own.
class RedisPool {
public:
    RedisPool(lagoon::Arena<Clusters> arena, std::string directory)
        : arena_{std::move(arena)}, directory_{std::move(directory)} {
        std::signal(SIGPIPE, SIG_IGN);  // a server may go while it is being spoken to
        arena_.hooks(&Clusters::pool,
                     {.check = [](Cluster& cluster) { return answers(cluster.socket.str()); },
                      .destroy =
                          [&clusters = *arena_](Cluster& cluster) {
                              if (!cluster.socket.empty()) stop_server(cluster.socket.str());
                              clusters.stopped.add();
                          }});
    }
    RedisPool(const RedisPool&) = delete;
    RedisPool& operator=(const RedisPool&) = delete;
    /// Whoever made the arena ends every server; when that process is dead, the workers do it. They
    /// wait until no living worker holds one, and until it is certain that the others are dead.
    ~RedisPool() {
        if (arena_.created() || lagoon::worker_stop_token().stop_requested()) {
            arena_.shut_down(lagoon::ShutDown::drain);
        }
    }

    lagoon::Lease<Cluster> pop_or_create_cluster() {
        const auto start = [this](Cluster& cluster, lagoon::Slot slot) {
            cluster.socket = directory_ + "/" + std::to_string(slot.index()) + "." +
                             std::to_string(slot.fill()) + ".sock";
            die_if_wanted(*arena_, path_is_written);
            try {
                start_server(cluster.socket.str());
                die_if_wanted(*arena_, server_is_started);
                wait_until_it_answers(cluster.socket.str());
            } catch (...) {
                stop_server(cluster.socket.str());
                throw;
            }
        };
        return arena_->pool.acquire_or_create(start, lagoon::worker_stop_token());
    }

    /// The square, computed by a script in the cluster.
    std::int64_t square(lagoon::Lease<Cluster>& cluster, std::size_t num) {
        Client& client =
            clients_.get(cluster, [](const Cluster& found) { return Client{found.socket.str()}; });
        return client.command("EVAL %s 0 %d", "return ARGV[1] * ARGV[1]", static_cast<int>(num));
    }

private:
    lagoon::Arena<Clusters> arena_;
    std::string directory_;
    lagoon::Local<Client> clients_;  // connections cannot be shared: one per process and server
};

void report(std::size_t job, std::int64_t squared, const std::string& socket) {
    const std::string line = "job finished. num: " + std::to_string(job) +
                             ", squared_num: " + std::to_string(squared) +
                             ", pid: " + std::to_string(getpid()) + ", socket: " + socket + "\n";
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) std::exit(1);
}

/// The square, by a cluster that answers; none when the pool is closed. A server that is gone is
/// not lent again, and the next one is asked.
std::optional<std::int64_t> square(RedisPool& pool, Clusters& clusters, std::size_t job) {
    for (;;) {
        lagoon::Lease<Cluster> cluster;
        try {
            cluster = pool.pop_or_create_cluster();
            if (!cluster || lagoon::worker_stop_token().stop_requested()) return std::nullopt;
            const std::int64_t squared = pool.square(cluster, job);
            die_if_wanted(clusters, in_a_job);
            cluster->jobs_run += 1;
            report(job, squared, cluster->socket.str());
            return squared;
        } catch (const ServerGone&) {
            if (cluster) cluster.mark_broken();
        }
    }
}

/// A worker process. A job that is done twice writes the same square.
void work(lagoon::Arena<Clusters> arena, int worker, const std::string& directory) {
    Jobs& jobs = arena->jobs;
    RedisPool pool{arena, directory};
    jobs.resume(worker, [](std::size_t) { return false; });
    while (const auto job = jobs.take(worker)) {
        const auto squared = square(pool, *arena, *job);
        if (!squared) return;
        arena->squares[*job] = *squared;
        jobs.finish(*job);
    }
}

/// A directory that nobody else can enter, for as long as this object lives.
struct PrivateDirectory {
    std::string path = std::filesystem::temp_directory_path() / "redis_clusters.XXXXXX";
    PrivateDirectory() {
        if (mkdtemp(path.data()) == nullptr) {
            throw std::system_error{errno, std::generic_category(), path};
        }
    }
    PrivateDirectory(const PrivateDirectory&) = delete;
    PrivateDirectory& operator=(const PrivateDirectory&) = delete;
    ~PrivateDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
};

/// While this object lives, Ctrl-C and its like close the pool, so that the job ends early and
/// everything is cleaned up.
class OrderlyEnd {
public:
    explicit OrderlyEnd(lagoon::Arena<Clusters> clusters) {
        sigemptyset(&signals_);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals_, signal);
        pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
        thread_ = std::jthread{[this, clusters](const std::stop_token& stop) {
            const timespec a_moment{0, 50'000'000};
            while (!stop.stop_requested()) {
                if (sigtimedwait(&signals_, nullptr, &a_moment) > 0) clusters->pool.close();
            }
        }};
    }

private:
    sigset_t signals_{};
    std::jthread thread_;
};

}  // namespace

int main(int argc, char** argv) try {
    lagoon::run_if_worker(argc, argv);
    int workers = 3;
    std::size_t jobs = 9;
    std::int64_t lifetime_ms = 60'000;
    bool no_kills = false;
    CLI::App options{"Squares numbers by a script in redis servers that workers share."};
    options.add_option("--workers", workers, "processes")->check(CLI::Range(1, 64));
    options.add_option("--jobs", jobs, "numbers to square")->check(CLI::Range(1, 1'000'000));
    options.add_option("--max-lifetime", lifetime_ms, "milliseconds until a server is replaced")
        ->check(CLI::Range(1, 1'000'000));
    options.add_flag("--no-kills", no_kills, "leave the workers alone");
    CLI11_PARSE(options, argc, argv);

    const PrivateDirectory directory;
    auto clusters =
        lagoon::Arena<Clusters>::create("redis." + std::to_string(getpid()), {}, jobs, lifetime_ms);
    if (!no_kills) clusters->kills.fill(1);
    int killed = 0;
    lagoon::PoolStats did;
    {
        const RedisPool pool{clusters, directory.path};
        const OrderlyEnd on_signals{clusters};
        killed = run_crew<work>(clusters, workers, directory.path);
        did = clusters->pool.stats();
    }
    std::cout << "squared_nums: [";
    const char* separator = "";
    for (const std::int64_t squared : clusters->squares.snapshot()) {
        std::cout << separator << squared;
        separator = ", ";
    }
    std::cout << "]\nworkers killed: " << killed << "\nservers: " << did.created << " created, "
              << did.reused() << " reused, " << did.recovered << " recovered, "
              << clusters->stopped.load() << " stopped, " << did.ended_by_lifetime << " too old, "
              << did.ended_by_failures + did.ended_by_check << " broken\n";
    return clusters->jobs.finished.load() < static_cast<std::int64_t>(jobs) ? 1 : 0;
} catch (const std::exception& error) {
    std::cerr << "redis_clusters: " << error.what() << '\n';
    return 1;
}
