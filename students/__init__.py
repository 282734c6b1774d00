"""The students: small networks that learn a teacher's soft targets."""
