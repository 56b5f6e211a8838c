//! Linear reconstruction: what sums over subsets say of each member.

/// Random subsets by arithmetic that an analyst can write: `(bed * a + b) % PRIME < PRIME / 2`.
pub const PRIME: usize = 401;

/// A subset as a condition on the beds.
pub fn condition(a: usize, b: usize) -> String {
    format!("(bed * {a} + {b}) % {PRIME} < {}", PRIME / 2)
}

/// Whether a bed is in it.
pub fn holds(a: usize, b: usize, bed: usize) -> bool {
    (bed * a + b) % PRIME < PRIME / 2
}

/// The subset of a question: different for every number below PRIME · (PRIME − 1).
pub fn subset(number: usize) -> (usize, usize) {
    (1 + (number * 149) % (PRIME - 1), (number * 263 + number / (PRIME - 1) * 17) % PRIME)
}

/// A guess for each bed from 1 to `beds`, whether it counts: least squares with a little weight on one half, which is what one knows before.
/// `answers` are sums over the subsets of their questions.
pub fn guess(beds: usize, answers: &[(usize, f64)], noise_variance: f64) -> Vec<bool> {
    let mut right = vec![0.0; beds];
    // Counts with noise are not below 0: that lifts them all, and tells nothing of anybody.
    let members_of = |number: usize| {
        let (a, b) = subset(number);
        (0..beds).filter(|i| holds(a, b, i + 1)).collect::<Vec<_>>()
    };
    let off = |number: usize, answer: f64| answer - members_of(number).len() as f64 / 2.0;
    let lifted = if noise_variance > 0.0 {
        answers.iter().map(|(number, answer)| off(*number, *answer)).sum::<f64>() / answers.len() as f64
    } else {
        0.0
    };
    // The questions that each is in, a bit a question: how many two share is counted a word at a time.
    let mut asked_of = vec![vec![0_u64; answers.len().div_ceil(64)]; beds];
    for (place, (number, answer)) in answers.iter().enumerate() {
        let off = off(*number, *answer) - lifted;
        for i in members_of(*number) {
            right[i] += off;
            asked_of[i][place / 64] |= 1 << (place % 64);
        }
    }
    let shared = |i: &[u64], j: &[u64]| i.iter().zip(j).map(|(i, j)| (i & j).count_ones()).sum::<u32>();
    let mut matrix: Vec<Vec<f64>> =
        asked_of.iter().map(|i| asked_of.iter().map(|j| f64::from(shared(i, j))).collect()).collect();
    // Of a member that is 0 or 1 with equal chances the variance is 1/4.
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += 4.0 * noise_variance.max(1e-6);
    }
    solved(matrix, right).into_iter().map(|x| x > 0.0).collect()
}

/// Solves equations whose matrix is symmetric and positive, by Cholesky's decomposition.
fn solved(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for j in 0..n {
        let done: Vec<f64> = matrix[j][..j].to_vec();
        matrix[j][j] = (matrix[j][j] - done.iter().map(|x| x * x).sum::<f64>()).sqrt();
        for i in j + 1..n {
            let dot: f64 = matrix[i][..j].iter().zip(&done).map(|(x, y)| x * y).sum();
            matrix[i][j] = (matrix[i][j] - dot) / matrix[j][j];
        }
    }
    for i in 0..n {
        let dot: f64 = (0..i).map(|j| matrix[i][j] * right[j]).sum();
        right[i] = (right[i] - dot) / matrix[i][i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|j| matrix[j][i] * right[j]).sum();
        right[i] = (right[i] - dot) / matrix[i][i];
    }
    right
}
