// word_count.cpp: counts the words of every regular file below a directory with several processes.
//
//   word_count DIR [--workers N] [--all-files] [--kill-one] [--kill-three]
//
// A word is a run of letters, digits and underscores; none goes on from one file into another.
// Symbolic links are not followed. A worker that is killed costs its file to be counted again, and
// nothing is counted twice: each worker has two rows of sums, and one word that says which of them
// holds and which file was added to it last.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <span>
#include <string_view>
#include <thread>

#include "crew.hpp"

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest = 127;               // longer words are counted with these
constexpr std::size_t first_letter = longest + 1;  // where their counts begin: one per character
using Counts = std::array<std::int64_t, first_letter + 128>;

constexpr std::int64_t vanished = -1;  // instead of a file's words
constexpr std::int64_t unreadable = -2;

/// Where workers are killed.
enum Place : std::size_t { in_a_file, in_a_sum, after_a_sum };

/// What all processes share.
struct Words {
    lagoon::Array<char> paths;              // one after the other
    lagoon::Array<std::uint64_t> path_end;  // of each file
    lagoon::Group<Jobs> files;
    lagoon::Array<std::int64_t> words_in_file;

    lagoon::Array<std::int64_t> sums;          // per worker two rows of Counts
    lagoon::Array<std::uint64_t> last_commit;  // per worker: 2 * (file + 1) + row

    lagoon::Counter words{"words"};  // the totals, when all is done
    lagoon::Array<std::int64_t> by_length{"by_length", first_letter};
    lagoon::Array<std::int64_t> by_first_letter{"by_first_letter", 128};
    lagoon::Array<int> kills{"kills", 3};  // how many workers still have to die there

    explicit Words(lagoon::Count count = 0, lagoon::Count path_bytes = 0, lagoon::Count workers = 1)
        : paths{"paths", path_bytes},
          path_end{"path_end", count},
          files{"files", count},
          words_in_file{"words_in_file", count},
          sums{"sums", workers * 2 * Counts{}.size()},
          last_commit{"last_commit", workers} {}

    [[nodiscard]] std::string path(std::size_t file) const {
        const std::size_t begin = file == 0 ? 0 : path_end[file - 1].load();
        return {paths.span().data() + begin, path_end[file].load() - begin};
    }
    [[nodiscard]] std::span<std::int64_t> row(std::size_t worker, std::size_t which) {
        return sums.span().subspan((2 * worker + which) * Counts{}.size(), Counts{}.size());
    }
};

void die_if_wanted(Words& words, Place place) {
    if (words.kills[place].exchange(0) != 0) std::raise(SIGKILL);
}

constexpr auto in_words = [] {
    std::array<bool, 256> is{};
    for (unsigned c = 0; c < is.size(); ++c) {
        is[c] =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    }
    return is;
}();

/// Counts the words of one file, which come in pieces.
class FileCount {
public:
    void add(std::string_view piece) {
        for (const char c : piece) {
            const auto byte = static_cast<unsigned char>(c);
            if (!in_words[byte]) {
                end_word();
            } else if (length_++ == 0) {
                ++counts_[first_letter + byte];
            }
        }
    }
    const Counts& finish() {
        end_word();
        return counts_;
    }
    [[nodiscard]] std::int64_t words() const { return words_; }

private:
    void end_word() {
        if (length_ == 0) return;
        ++counts_[std::min(length_, longest)];
        ++words_;
        length_ = 0;
    }
    Counts counts_{};
    std::int64_t words_ = 0;
    std::size_t length_ = 0;  // of the word that is going on
};

/// 0, or the errno that says why it could not be read.
int read_file(const std::string& path, FileCount& count) {
    static std::array<char, 1 << 16> buffer;
    const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = 0;
    for (;;) {
        const ssize_t got = read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) error = errno;
        if (got <= 0) break;
        count.add({buffer.data(), static_cast<std::size_t>(got)});
    }
    close(fd);
    return error;
}

/// Adds to the worker's sums, by one store or not at all.
void commit(Words& words, std::size_t worker, std::size_t file, const Counts& counts) {
    const std::size_t now = words.last_commit[worker] % 2;
    const auto sums = words.row(worker, now);
    const auto next = words.row(worker, 1 - now);
    for (std::size_t i = 0; i < counts.size(); ++i) {
        next[i] = sums[i] + counts[i];
        if (i == longest) die_if_wanted(words, in_a_sum);
    }
    words.last_commit[worker] = 2 * (file + 1) + (1 - now);
}

void count_file(Words& words, std::size_t worker, std::size_t file) {
    const std::string path = words.path(file);
    FileCount count;
    const int error = read_file(path, count);
    die_if_wanted(words, in_a_file);
    if (error == 0) {
        const Counts& counts = count.finish();
        words.words_in_file[file] = count.words();  // the same when it is done again
        commit(words, worker, file, counts);
    } else if (error == ENOENT || error == ENOTDIR || error == ELOOP) {
        words.words_in_file[file] = vanished;  // or replaced by a link, since it was found
    } else {
        words.words_in_file[file] = unreadable;
        std::cerr << "word_count: " + path + ": " + std::strerror(error) + "\n";
    }
    die_if_wanted(words, after_a_sum);
}

/// A worker process.
void work(Words& words, int worker) {
    const auto self = static_cast<std::size_t>(worker);
    words.files.resume(worker,
                       [&](std::size_t file) { return words.last_commit[self] / 2 == file + 1; });
    while (const auto file = words.files.take(worker)) {
        if (lagoon::worker_stop_token().stop_requested()) return;  // the parent is dead
        count_file(words, self, *file);
        words.files.finish(*file);
    }
}

struct Found {
    std::vector<std::string> files;
    std::size_t path_bytes = 0;
    bool complete = true;
};

/// Every regular file below a directory, in order.
Found find_files(const fs::path& top) {
    Found found;
    std::vector<fs::path> directories{top};
    while (!directories.empty()) {
        const fs::path directory = std::move(directories.back());
        directories.pop_back();
        std::error_code error;
        fs::directory_iterator entry{directory, error};
        for (; !error && entry != fs::directory_iterator{}; entry.increment(error)) {
            std::error_code ignored;  // whatever vanishes now is none of these
            if (entry->is_symlink(ignored)) continue;
            if (entry->is_directory(ignored)) directories.push_back(entry->path());
            if (entry->is_regular_file(ignored)) found.files.push_back(entry->path().string());
        }
        if (!error) continue;
        if (directory == top) throw std::system_error{error, top.string()};
        if (error == std::errc::no_such_file_or_directory) continue;
        std::cerr << "word_count: " + directory.string() + ": " + error.message() + "\n";
        found.complete = false;
    }
    std::sort(found.files.begin(), found.files.end());
    for (const std::string& file : found.files) found.path_bytes += file.size();
    return found;
}

void share_paths(Words& words, const std::vector<std::string>& files) {
    std::size_t end = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
        std::copy(files[i].begin(), files[i].end(), words.paths.span().data() + end);
        words.path_end[i] = end += files[i].size();
    }
}

/// Redraws the bar until all files are counted or `crew` has ended.
void show_progress(const Words& words, const std::future<int>& crew) {
    constexpr std::size_t width = 40;
    const std::size_t all = std::max<std::size_t>(words.words_in_file.size(), 1);
    while (crew.wait_for(std::chrono::milliseconds{50}) == std::future_status::timeout) {
        const auto done = static_cast<std::size_t>(words.files.finished.load());
        const std::size_t filled = std::min(width, done * width / all);
        std::cout << "\r[" << std::string(filled, '#') << std::string(width - filled, '.') << "] "
                  << done << " of " << all << " files" << std::flush;
    }
    std::cout << "\r\033[K" << std::flush;
}

/// Adds up the workers' sums.
void add_up(Words& words) {
    for (std::size_t worker = 0; worker < words.last_commit.size(); ++worker) {
        const auto sums = words.row(worker, words.last_commit[worker] % 2);
        for (std::size_t i = 1; i <= longest; ++i) {
            words.by_length[i] += sums[i];
            words.words.add(sums[i]);
        }
        for (std::size_t c = 0; c < 128; ++c) words.by_first_letter[c] += sums[first_letter + c];
    }
}

void print_files(const Words& words, bool all) {
    constexpr std::size_t shown = 5;
    std::vector<std::size_t> files(words.words_in_file.size());
    for (std::size_t i = 0; i < files.size(); ++i) files[i] = i;
    std::stable_sort(files.begin(), files.end(), [&](std::size_t a, std::size_t b) {
        return words.words_in_file[a] > words.words_in_file[b];
    });
    if (!all && files.size() > shown) files.resize(shown);
    std::cout << "words per file" << (all ? ":\n" : ", of those with most:\n");
    for (const std::size_t file : files) {
        if (words.words_in_file[file] < 0) continue;
        std::cout << std::setw(12) << words.words_in_file[file] << ' ' << words.path(file) << '\n';
    }
}

void print(const Words& words, bool all_files) {
    std::cout << "files: " << words.words_in_file.size() << "\nwords: " << words.words.load()
              << '\n';
    print_files(words, all_files);
    std::cout << "words per length:\n";
    for (std::size_t i = 1; i <= longest; ++i) {
        if (words.by_length[i] != 0) {
            std::cout << std::setw(12) << words.by_length[i] << ' ' << i
                      << (i == longest ? " or more" : "") << '\n';
        }
    }
    std::cout << "words per first letter:\n";
    for (std::size_t c = 0; c < 128; ++c) {
        if (words.by_first_letter[c] != 0) {
            std::cout << std::setw(12) << words.by_first_letter[c] << ' ' << static_cast<char>(c)
                      << '\n';
        }
    }
}

}  // namespace

int main(int argc, char** argv) try {
    lagoon::run_if_worker(argc, argv);
    std::string directory;
    int workers = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
    bool all_files = false, kill_one = false, kill_three = false;
    CLI::App options{"Counts the words of every regular file below a directory."};
    options.add_option("DIR", directory, "where to look")->required();
    options.add_option("--workers", workers, "processes")->check(CLI::Range(1, 64));
    options.add_flag("--all-files", all_files, "print the words of every file");
    options.add_flag("--kill-one", kill_one, "kill a worker in the middle of a file");
    options.add_flag("--kill-three", kill_three, "and in and after the commit of a file");
    CLI11_PARSE(options, argc, argv);

    const Found found = find_files(directory);
    auto words = lagoon::Arena<Words>::create("word_count." + std::to_string(getpid()), {},
                                              found.files.size(), found.path_bytes, workers);
    share_paths(*words, found.files);
    if (kill_one || kill_three) words->kills[in_a_file] = 1;
    if (kill_three) words->kills[in_a_sum] = words->kills[after_a_sum] = 1;

    auto crew = std::async(std::launch::async, [&] { return run_crew<work>(words, workers); });
    if (isatty(STDOUT_FILENO)) show_progress(*words, crew);
    const int killed = crew.get();
    add_up(*words);
    print(*words, all_files);
    if (killed != 0) std::cout << "workers killed: " << killed << '\n';
    const auto results = words->words_in_file.snapshot();
    const bool complete =
        found.complete && std::count(results.begin(), results.end(), unreadable) == 0;
    return complete ? 0 : 1;
} catch (const std::exception& error) {
    std::cerr << "word_count: " << error.what() << '\n';
    return 1;
}
