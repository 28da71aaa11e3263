"""What runs tell afterwards: summary, status, rates, proof of concept, performance, distillation."""
