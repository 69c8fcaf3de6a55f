#include "tracer.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <set>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace lagoon_perf {

namespace {

constexpr int log_file = 19;  // valgrind's, in the child; higher than any open here
constexpr std::uint64_t marked_steps = 32;

/// A child whose standard output and log are read; the log line by line, as it comes.
class Valgrind {
public:
    Valgrind(std::vector<std::string> options, std::size_t index, std::uint64_t steps,
             bool marked) {
        std::array<int, 2> log{};
        if (pipe2(log.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
        std::array<char, 4096> self{};
        const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);
        options.insert(options.begin(), "valgrind");
        options.insert(options.end(),
                       {"--log-fd=" + std::to_string(log_file),
                        std::string(self.data(), static_cast<std::size_t>(length)), "--walk",
                        std::to_string(index), "--steps", std::to_string(steps)});
        if (marked) options.emplace_back("--marked");
        output_ = std::tmpfile();
        std::vector<char*> argv;
        for (std::string& option : options) argv.push_back(option.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, log[1], log_file);
        posix_spawn_file_actions_adddup2(&files, fileno(output_), STDOUT_FILENO);
        const int error = posix_spawnp(&child_, "valgrind", &files, nullptr, argv.data(), environ);
        posix_spawn_file_actions_destroy(&files);
        close(log[1]);
        if (error != 0) throw std::runtime_error("valgrind does not start");
        log_ = fdopen(log[0], "r");
    }
    ~Valgrind() {
        if (log_ != nullptr) std::fclose(log_);
        if (output_ != nullptr) std::fclose(output_);
    }
    Valgrind(const Valgrind&) = delete;
    Valgrind& operator=(const Valgrind&) = delete;

    template <class Take>
    void each_log_line(Take take) {
        std::array<char, 512> line{};
        while (std::fgets(line.data(), line.size(), log_) != nullptr) take(line.data());
    }
    /// Its standard output, when it has ended well.
    std::string finish() {
        int status = 0;
        if (waitpid(child_, &status, 0) != child_ || status != 0) {
            throw std::runtime_error("a walk under valgrind has failed");
        }
        std::string all;
        std::rewind(output_);
        for (int letter; (letter = std::fgetc(output_)) != EOF;) all += static_cast<char>(letter);
        return all;
    }

private:
    pid_t child_ = 0;
    std::FILE* log_ = nullptr;
    std::FILE* output_ = nullptr;
};

double total_instructions(std::size_t index, std::uint64_t steps) {
    Valgrind run({"--tool=callgrind", "--callgrind-out-file=/dev/null"}, index, steps, false);
    double collected = 0;
    run.each_log_line([&](const char* text) {
        const std::string_view line(text);
        const auto at = line.find("Collected : ");
        if (at != std::string_view::npos) collected = std::stod(std::string(line.substr(at + 12)));
    });
    run.finish();
    if (collected == 0) throw std::runtime_error("callgrind told no count");
    return collected;
}

/// One traced access: `I  addr,size`, ` L addr,size`, ` S addr,size` or ` M addr,size`.
struct Access {
    char kind = 0;
    std::uintptr_t address = 0;
    std::uintptr_t bytes = 0;
};

bool parse(const char* line, Access& access) {
    if (line[0] == '=') return false;
    access.kind = line[0] == ' ' ? line[1] : line[0];
    const std::string_view rest(line + 3);
    const auto comma = rest.find(',');
    if (comma == std::string_view::npos) return false;
    std::from_chars(rest.data(), rest.data() + comma, access.address, 16);
    std::from_chars(rest.data() + comma + 1, rest.data() + rest.size(), access.bytes);
    return true;
}

using Step = std::vector<Access>;

std::vector<Step> collect_steps(Valgrind& run) {
    std::vector<Step> steps;
    bool inside = false;
    run.each_log_line([&](const char* line) {
        Access access;
        if (!parse(line, access)) return;
        if (access.kind == 'S' && access.address == mark_address) {
            inside = !inside;
            if (inside) steps.emplace_back();
        } else if (inside) {
            steps.back().push_back(access);
        }
    });
    return steps;
}

struct Range {
    std::uintptr_t begin;
    std::uintptr_t end;
};

std::vector<Range> parse_shared(const std::string& output) {
    std::vector<Range> ranges;
    unsigned long begin = 0;
    unsigned long end = 0;
    for (std::size_t at = 0; (at = output.find("shared ", at)) != std::string::npos; ++at) {
        if (std::sscanf(output.c_str() + at, "shared %lx %lx", &begin, &end) == 2) {
            ranges.push_back({begin, end});
        }
    }
    return ranges;
}

Footprint footprint_of(const Step& step, const std::vector<Range>& shared) {
    std::set<std::uintptr_t> code;
    std::set<std::uintptr_t> own;
    std::set<std::uintptr_t> read;
    std::set<std::uintptr_t> written;
    Footprint footprint;
    for (const Access& access : step) {
        const std::uintptr_t first = access.address / 64;
        const std::uintptr_t last =
            (access.address + std::max<std::uintptr_t>(access.bytes, 1) - 1) / 64;
        const bool is_shared = std::any_of(shared.begin(), shared.end(), [&](const Range& range) {
            return access.address >= range.begin && access.address < range.end;
        });
        if (access.kind == 'I') footprint.instructions += 1;
        if (is_shared && access.kind == 'M') footprint.shared_rmws += 1;
        for (std::uintptr_t line = first; line <= last; ++line) {
            if (access.kind == 'I') {
                code.insert(line);
            } else if (!is_shared) {
                own.insert(line);
            } else {
                if (access.kind != 'S') read.insert(line);
                if (access.kind != 'L') written.insert(line);
            }
        }
    }
    footprint.code_lines = static_cast<double>(code.size());
    footprint.private_lines = static_cast<double>(own.size());
    footprint.shared_lines_read = static_cast<double>(read.size());
    footprint.shared_lines_written = static_cast<double>(written.size());
    return footprint;
}

double median_of(const std::vector<Footprint>& all, double Footprint::*field) {
    std::vector<double> values;
    values.reserve(all.size());
    for (const Footprint& one : all) values.push_back(one.*field);
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

}  // namespace

bool has_valgrind() { return std::system("valgrind --version >/dev/null 2>&1") == 0; }

double count_instructions(std::size_t index) {
    constexpr std::uint64_t few = 2'000;
    constexpr std::uint64_t many = 22'000;
    return (total_instructions(index, many) - total_instructions(index, few)) / (many - few);
}

Footprint trace_lines(std::size_t index) {
    Valgrind run({"--tool=lackey", "--basic-counts=no", "--trace-mem=yes"}, index, marked_steps,
                 true);
    const std::vector<Step> steps = collect_steps(run);
    const std::vector<Range> shared = parse_shared(run.finish());
    if (steps.size() != marked_steps) throw std::runtime_error("the trace has not all steps");
    std::vector<Footprint> all;
    all.reserve(steps.size());
    for (const Step& step : steps) all.push_back(footprint_of(step, shared));
    return {.instructions = median_of(all, &Footprint::instructions),
            .code_lines = median_of(all, &Footprint::code_lines),
            .private_lines = median_of(all, &Footprint::private_lines),
            .shared_lines_read = median_of(all, &Footprint::shared_lines_read),
            .shared_lines_written = median_of(all, &Footprint::shared_lines_written),
            .shared_rmws = median_of(all, &Footprint::shared_rmws)};
}

}  // namespace lagoon_perf
